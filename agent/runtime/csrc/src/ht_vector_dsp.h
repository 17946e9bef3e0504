/* Cortex-M with the DSP extension: two products of 16 bits are one instruction.
 *
 * Four taps are held as SXTB16 widens four weights: (0, 2) in one word, (1, 3) in the next. */
#ifndef HARDTACK_HT_VECTOR_DSP_H
#define HARDTACK_HT_VECTOR_DSP_H

#include <arm_acle.h>
#include <string.h>

typedef int16_t ht_tap;
typedef int32_t __attribute__((may_alias)) ht_tap_pair;

/* The second pixel's window is reached by an LDRD with a constant, at most 1020. */
HT_STATIC_ASSERT(a_second_window_is_in_reach, HT_WINDOW_TAPS <= 510);

/* Four codes from any address: the processor loads unaligned words. */
HT_INLINE int32_t ht_load4(const int8_t *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* Bytes 1 and 3 widened; GCC does not see that the rotation is free. */
HT_INLINE int32_t ht_widen_odd(int32_t word) {
    int32_t pair;
    __asm("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
}

HT_INLINE int32_t ht_widen_even(int32_t word) {
    return __sxtb16(word);
}

/* Where tap i of a window lies. */
HT_INLINE int32_t ht_tap_slot(int32_t i) {
    const int32_t middle = (i ^ i >> 1) & 1; /* taps 1 and 2 of four change places */
    return i ^ (3 * middle);
}

HT_INLINE void ht_copy_taps(ht_tap *window, int32_t at, const int8_t *codes, int32_t n) {
    for (; n > 0 && at % 4 != 0; n--, at++) {
        window[ht_tap_slot(at)] = *codes++;
    }
    ht_tap_pair *pairs = (ht_tap_pair *)(window + at);
    at += n & ~3;
    for (; n >= 4; n -= 4, codes += 4) {
        const int32_t word = ht_load4(codes);
        *pairs++ = ht_widen_even(word);
        *pairs++ = ht_widen_odd(word);
    }
    for (; n > 0; n--, at++) {
        window[ht_tap_slot(at)] = *codes++;
    }
}

HT_INLINE void ht_fill_taps(ht_tap *window, int32_t at, int32_t code, int32_t n) {
    for (int32_t i = at; i < at + n; i++) {
        window[ht_tap_slot(i)] = (ht_tap)code;
    }
}

/* The same with taps in their own order, for weights that come in pairs of neighbours. */
#define HT_PAIRS 1

HT_INLINE void ht_copy_in_order(ht_tap *window, int32_t at, const int8_t *codes, int32_t n) {
    for (; n > 0 && at % 4 != 0; n--) {
        window[at++] = *codes++;
    }
    ht_tap_pair *pairs = (ht_tap_pair *)(window + at);
    at += n & ~3;
    for (; n >= 4; n -= 4, codes += 4) {
        const int32_t word = ht_load4(codes);
        const uint32_t even = (uint32_t)ht_widen_even(word);
        const uint32_t odd = (uint32_t)ht_widen_odd(word);
        *pairs++ = (int32_t)((even & 0xFFFFu) | odd << 16);
        *pairs++ = (int32_t)(even >> 16 | (odd & 0xFFFF0000u));
    }
    for (; n > 0; n--) {
        window[at++] = *codes++;
    }
}

/* Two words from an address and a constant: one instruction, which GCC makes two of. */
#define HT_LOAD_PAIRS(taps, offset, x, y)                                                          \
    __asm("ldrd %0, %1, [%2, %3]"                                                                  \
          : "=r"(x), "=r"(y)                                                                       \
          : "r"(taps), "n"((offset) * sizeof(ht_tap)),                                             \
            "m"(*(const ht_tap_pair(*)[2])((taps) + (offset) / 2)))

HT_INLINE void ht_fill_in_order(ht_tap *window, int32_t at, int32_t code, int32_t n) {
    for (int32_t i = at; i < at + n; i++) {
        window[i] = (ht_tap)code;
    }
}

/* acc[p][k] = bias[k] for two pixels. */
HT_INLINE void ht_start_sums(const int32_t *bias, int32_t lanes, int32_t *acc) {
    for (int32_t k = 0; k < lanes; k++) {
        acc[k] = bias[k];
        acc[HT_LANES + k] = bias[k];
    }
}

#define HT_SUM_FOUR_TAPS                                                                           \
    "ldr %[even], [%[w0]], #4\n"                                                                   \
    "sxtb16 %[odd], %[even], ror #8\n"                                                             \
    "sxtb16 %[even], %[even]\n"                                                                    \
    "ldrd %[x], %[y], [%[taps]]\n"                                                                 \
    "smlad %[s00], %[even], %[x], %[s00]\n"                                                        \
    "smlad %[s00], %[odd], %[y], %[s00]\n"                                                         \
    "ldrd %[x], %[y], [%[taps], %[second]]\n"                                                      \
    "smlad %[s10], %[even], %[x], %[s10]\n"                                                        \
    "smlad %[s10], %[odd], %[y], %[s10]\n"                                                         \
    "ldr %[even], [%[w1]], #4\n"                                                                   \
    "sxtb16 %[odd], %[even], ror #8\n"                                                             \
    "sxtb16 %[even], %[even]\n"                                                                    \
    "smlad %[s11], %[even], %[x], %[s11]\n"                                                        \
    "smlad %[s11], %[odd], %[y], %[s11]\n"                                                         \
    "ldrd %[x], %[y], [%[taps]], #8\n"                                                             \
    "smlad %[s01], %[even], %[x], %[s01]\n"                                                        \
    "smlad %[s01], %[odd], %[y], %[s01]\n"

/* Sums of four taps at a time, of two windows and two output channels: s00 s01 belong to the first
 * window. In C compilers keep more in registers than there are, so: 12 registers, 19 instructions
 * for 16 products less what a round of two steps saves. */
HT_INLINE void ht_sum_2x2(const ht_tap *taps, const ht_tap *end, const int8_t *w0, const int8_t *w1,
                          int32_t *acc) {
    int32_t s00 = acc[0];
    int32_t s01 = acc[1];
    int32_t s10 = acc[HT_LANES];
    int32_t s11 = acc[HT_LANES + 1];
    int32_t even;
    int32_t odd;
    int32_t x;
    int32_t y;
    /* Two steps to a round; an odd number of steps begins in the middle. */
    __asm volatile("sub %[x], %[end], %[taps]\n"
                   "tst %[x], #8\n"
                   "bne 2f\n"
                   "1:\n" HT_SUM_FOUR_TAPS "2:\n" HT_SUM_FOUR_TAPS "cmp %[taps], %[end]\n"
                   "bne 1b\n"
                   : [s00] "+r"(s00), [s01] "+r"(s01), [s10] "+r"(s10), [s11] "+r"(s11),
                     [taps] "+r"(taps), [w0] "+r"(w0), [w1] "+r"(w1), [even] "=&r"(even),
                     [odd] "=&r"(odd), [x] "=&r"(x), [y] "=&r"(y)
                   : [end] "r"(end), [second] "n"(HT_WINDOW_TAPS * sizeof(ht_tap))
                   : "cc", "memory");
    acc[0] = s00;
    acc[1] = s01;
    acc[HT_LANES] = s10;
    acc[HT_LANES + 1] = s11;
}

/* The same of one window. */
HT_INLINE void ht_sum_1x2(const ht_tap *taps, const ht_tap *end, const int8_t *w0, const int8_t *w1,
                          int32_t *acc) {
    int32_t s0 = acc[0];
    int32_t s1 = acc[1];
    int32_t even;
    int32_t odd;
    int32_t x;
    int32_t y;
    __asm volatile("1: ldr %[even], [%[w0]], #4\n"
                   "sxtb16 %[odd], %[even], ror #8\n"
                   "sxtb16 %[even], %[even]\n"
                   "ldrd %[x], %[y], [%[taps]], #8\n"
                   "smlad %[s0], %[even], %[x], %[s0]\n"
                   "smlad %[s0], %[odd], %[y], %[s0]\n"
                   "ldr %[even], [%[w1]], #4\n"
                   "sxtb16 %[odd], %[even], ror #8\n"
                   "sxtb16 %[even], %[even]\n"
                   "smlad %[s1], %[even], %[x], %[s1]\n"
                   "smlad %[s1], %[odd], %[y], %[s1]\n"
                   "cmp %[taps], %[end]\n"
                   "bne 1b\n"
                   : [s0] "+r"(s0), [s1] "+r"(s1), [taps] "+r"(taps), [w0] "+r"(w0), [w1] "+r"(w1),
                     [even] "=&r"(even), [odd] "=&r"(odd), [x] "=&r"(x), [y] "=&r"(y)
                   : [end] "r"(end)
                   : "cc", "memory");
    acc[0] = s0;
    acc[1] = s1;
}

/* What is left of the taps, fewer than four: `n` is how many there were in all. */
HT_INLINE void ht_sum_rest(const ht_tap *windows, int32_t pixels, const int8_t *w0,
                           const int8_t *w1, int32_t n, int32_t *acc) {
    for (int32_t i = n & ~3; i < n; i++) {
        for (int32_t p = 0; p < pixels; p++) {
            const int32_t tap = windows[p * HT_WINDOW_TAPS + ht_tap_slot(i)];
            acc[p * HT_LANES] += tap * w0[i];
            acc[p * HT_LANES + 1] += tap * w1[i];
        }
    }
}

/* windows [pixels][HT_WINDOW_TAPS], n of each   weights [lanes] rows, `row` bytes apart
 * acc [pixels][HT_LANES] */
HT_HOT static void ht_sum_windows(const ht_tap *windows, int32_t pixels, const int8_t *weights,
                                  int32_t row, int32_t n, int32_t lanes, int32_t *acc) {
    const ht_tap *end = windows + (n & ~3);
    if (lanes % 2 != 0) { /* the last channel goes with itself */
        acc[lanes] = 0;
        acc[HT_LANES + lanes] = 0;
    }
    for (const int32_t *last = acc + lanes; acc < last; acc += 2, weights += 2 * row) {
        const int8_t *next = acc + 1 < last ? weights + row : weights;
        if (end > windows && pixels == 2) {
            ht_sum_2x2(windows, end, weights, next, acc);
        } else if (end > windows) {
            ht_sum_1x2(windows, end, weights, next, acc);
        }
        if (n % 4 != 0) {
            ht_sum_rest(windows, pixels, weights, next, n, acc);
        }
    }
}

/* One tap of four channels. */
#define HT_ADD_FOUR_CHANNELS                                                                       \
    do {                                                                                           \
        const int32_t x = ht_load4(*from++ + k);                                                   \
        const int32_t y = ht_load4(w);                                                             \
        const int32_t x02 = ht_widen_even(x);                                                      \
        const int32_t y02 = ht_widen_even(y);                                                      \
        const int32_t x13 = ht_widen_odd(x);                                                       \
        const int32_t y13 = ht_widen_odd(y);                                                       \
        s0 = __smlabb(x02, y02, s0);                                                               \
        s1 = __smlabb(x13, y13, s1);                                                               \
        s2 = __smlatt(x02, y02, s2);                                                               \
        s3 = __smlatt(x13, y13, s3);                                                               \
        w += row;                                                                                  \
    } while (0)

/* image [taps] rows of lanes codes   weights [taps] rows, `row` bytes apart   start, acc [lanes],
 * which may be the same */
HT_HOT static void ht_sum_channels(const int8_t *const *image, const int8_t *weights, int32_t row,
                                   int32_t taps, int32_t lanes, const int32_t *start,
                                   int32_t *acc) {
    const int8_t *const *end = image + taps;
    int32_t k = 0;
    for (; k + 4 <= lanes; k += 4) {
        const int8_t *w = weights + k;
        int32_t s0 = start[k];
        int32_t s1 = start[k + 1];
        int32_t s2 = start[k + 2];
        int32_t s3 = start[k + 3];
        const int8_t *const *from = image;
        if (taps % 2 != 0) {
            HT_ADD_FOUR_CHANNELS;
        }
        while (from < end) { /* two to a round: a round costs two instructions */
            HT_ADD_FOUR_CHANNELS;
            HT_ADD_FOUR_CHANNELS;
        }
        acc[k] = s0;
        acc[k + 1] = s1;
        acc[k + 2] = s2;
        acc[k + 3] = s3;
    }
    for (; k < lanes; k++) {
        int32_t sum = start[k];
        for (int32_t t = 0; t < taps; t++) {
            sum += image[t][k] * weights[t * row + k];
        }
        acc[k] = sum;
    }
}

/* round(x * mult / 2^31), halves up: the high word of x * 2 mult, and of 2 mult the part beyond 31
 * bits is 2^32 or nothing. */
HT_INLINE int32_t ht_high_mul(int32_t x, int32_t mult) {
    int32_t product;
    int32_t twice;
    __asm("lsl %[twice], %[mult], #1\n"
          "and %[product], %[x], %[twice], asr #31\n"
          "smmlar %[product], %[x], %[twice], %[product]\n"
          : [product] "=&r"(product), [twice] "=&r"(twice)
          : [x] "r"(x), [mult] "r"(mult));
    return product;
}

HT_INLINE int32_t ht_saturate8(int32_t x) { /* __ssat does not pass -Wconversion */
    int32_t code;
    __asm("ssat %0, #8, %1" : "=r"(code) : "r"(x));
    return code;
}

/* out[k] of acc[k]; mult and shift are one for all lanes when step is 0, one for each when 1. */
HT_INLINE void ht_finish_lanes(const ht_output_stage *stage, const int32_t *acc,
                               const int32_t *mult, const int8_t *shift, int32_t step,
                               int32_t lanes, int8_t *out) {
    const int32_t zero = stage->out_zero;
    const int32_t low = stage->act_min;
    const int32_t high = stage->act_max;
    const int8_t *end = out + lanes;
    for (int8_t *to = out; to < end; mult += step, shift += step) {
        int32_t scaled = *acc++;
        const int32_t left = *shift;
        if (__builtin_expect(left < 0, 1)) { /* as ht_requantize does it */
            scaled = ht_high_mul(scaled, *mult);
            scaled = (((scaled + (scaled >> 31)) >> ~left) + 1) >> 1;
        } else {
            scaled = ht_high_mul(ht_shift_left(scaled, left), *mult);
        }
        *to++ = (int8_t)ht_saturate8(ht_add_wrapping(scaled, zero));
    }
    if (low > -128 || high < 127) {
        for (int8_t *to = out; to < end; to++) {
            *to = ht_clamp_s8(*to, low, high);
        }
    }
}

#endif

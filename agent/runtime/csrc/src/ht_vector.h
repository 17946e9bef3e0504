/* Inner loops that compilers turn into SIMD instructions, and the switch that builds them for
 * several processors at once. */
#ifndef HARDTACK_HT_VECTOR_H
#define HARDTACK_HT_VECTOR_H

#include "hardtack/ht_kernels.h"
#include "ht_requantize.h"

/* HT_MULTIARCH compiles a function for several x86-64 levels; the loader picks one. Off with
 * HT_PORTABLE, which sanitizers need: their start-up comes after the loader's choice. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) &&       \
    !defined(HT_PORTABLE)
#define HT_MULTIARCH                                                                               \
    __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define HT_MULTIARCH
#endif

#if defined(__GNUC__)
#define HT_INLINE static inline __attribute__((always_inline))
#else
#define HT_INLINE static inline
#endif

/* Products of two int8 fit 16 bits; said so, compilers multiply and add pairs of them. */
HT_INLINE int32_t ht_dot_s8(const int8_t *a, const int8_t *b, int32_t n) {
    int32_t sum = 0;
    for (int32_t i = 0; i < n; i++) {
        sum += (int16_t)a[i] * (int16_t)b[i];
    }
    return sum;
}

HT_INLINE int32_t ht_sum_s8(const int8_t *a, int32_t n) {
    int32_t sum = 0;
    for (int32_t i = 0; i < n; i++) {
        sum += a[i];
    }
    return sum;
}

/* sum[k] += a . b_k for four rows b_k, `row` bytes apart: one load of `a` serves four products. */
#define HT_DOT4(a, b, row, n, sum)                                                                 \
    do {                                                                                           \
        const int8_t *b0 = (b);                                                                    \
        const int8_t *b1 = b0 + (row);                                                             \
        const int8_t *b2 = b1 + (row);                                                             \
        const int8_t *b3 = b2 + (row);                                                             \
        int32_t s0 = (sum)[0];                                                                     \
        int32_t s1 = (sum)[1];                                                                     \
        int32_t s2 = (sum)[2];                                                                     \
        int32_t s3 = (sum)[3];                                                                     \
        for (int32_t i = 0; i < (n); i++) {                                                        \
            s0 += (a)[i] * (int16_t)b0[i];                                                         \
            s1 += (a)[i] * (int16_t)b1[i];                                                         \
            s2 += (a)[i] * (int16_t)b2[i];                                                         \
            s3 += (a)[i] * (int16_t)b3[i];                                                         \
        }                                                                                          \
        (sum)[0] = s0;                                                                             \
        (sum)[1] = s1;                                                                             \
        (sum)[2] = s2;                                                                             \
        (sum)[3] = s3;                                                                             \
    } while (0)

HT_INLINE void ht_dot4_s8(const int8_t *a, const int8_t *b, int32_t row, int32_t n, int32_t *sum) {
    HT_DOT4(a, b, row, n, sum);
}

/* The same with `a` already widened, which multiply-add instructions want. */
HT_INLINE void ht_dot4_s16(const int16_t *a, const int8_t *b, int32_t row, int32_t n,
                           int32_t *sum) {
    HT_DOT4(a, b, row, n, sum);
}

HT_INLINE int32_t ht_dot_s16(const int16_t *a, const int8_t *b, int32_t n) {
    int32_t sum = 0;
    for (int32_t i = 0; i < n; i++) {
        sum += a[i] * (int16_t)b[i];
    }
    return sum;
}

/* Input values widened on the stack and used by every output channel: 512 bytes on a
 * microcontroller, 4 KB elsewhere. */
#ifndef HT_WINDOW_TAPS
#if UINTPTR_MAX > 0xFFFFFFFFu
#define HT_WINDOW_TAPS 2048
#else
#define HT_WINDOW_TAPS 256
#endif
#endif

HT_INLINE void ht_widen_s8(const int8_t *in, int32_t n, int16_t *out) {
    for (int32_t i = 0; i < n; i++) {
        out[i] = in[i];
    }
}

#define HT_LANES 32 /* output channels summed side by side: 128 bytes of stack */

/* out[0..lanes) = the output codes of acc[0..lanes), the accumulators of channels first... */
HT_INLINE void ht_finish_s8(const ht_output_stage *stage, const int32_t *acc, int32_t first,
                            int32_t lanes, int8_t *out) {
    const int32_t zero = stage->out_zero;
    const int32_t low = stage->act_min;
    const int32_t high = stage->act_max;
    if (stage->per_channel) {
        const int32_t *mult = stage->mult + first;
        const int8_t *shift = stage->shift + first;
        for (int32_t k = 0; k < lanes; k++) {
            const int32_t scaled = ht_requantize(acc[k], mult[k], shift[k]);
            out[k] = ht_clamp_s8(ht_add_wrapping(scaled, zero), low, high);
        }
    } else {
        const int32_t mult = stage->mult[0];
        const int32_t shift = stage->shift[0];
        for (int32_t k = 0; k < lanes; k++) {
            const int32_t scaled = ht_requantize(acc[k], mult, shift);
            out[k] = ht_clamp_s8(ht_add_wrapping(scaled, zero), low, high);
        }
    }
}

#endif

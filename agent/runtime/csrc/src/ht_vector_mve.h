/* Cortex-M with Helium (MVE): sixteen products of 8 bits are one instruction. */
#ifndef HARDTACK_HT_VECTOR_MVE_H
#define HARDTACK_HT_VECTOR_MVE_H

#include "ht_lanes_mve.h"

typedef int8_t ht_tap;

/* The hardware's loop leaves out the lanes behind the end, which compilers do not know. */
/* Where tap i of a window lies. */
HT_INLINE int32_t ht_tap_slot(int32_t i) {
    return i;
}

HT_INLINE void ht_copy_taps(ht_tap *window, int32_t at, const int8_t *codes, int32_t n) {
    ht_tap *to = window + at;
    __asm volatile("wlstp.8 lr, %[n], 2f\n"
                   "1: vldrb.8 q0, [%[codes]], #16\n"
                   "vstrb.8 q0, [%[to]], #16\n"
                   "letp lr, 1b\n"
                   "2:\n"
                   : [to] "+r"(to), [codes] "+r"(codes)
                   : [n] "r"(n)
                   : "q0", "lr", "memory");
}

HT_INLINE void ht_fill_taps(ht_tap *window, int32_t at, int32_t code, int32_t n) {
    for (ht_tap *to = window + at; n > 0; n -= 16, to += 16) {
        vstrbq_p_s8(to, vdupq_n_s8((int8_t)code), ht_first_lanes8(n));
    }
}

/* acc[p][k] = bias[k] for two pixels. */
HT_INLINE void ht_start_sums(const int32_t *bias, int32_t lanes, int32_t *acc) {
    int32_t *second = acc + HT_LANES;
    __asm volatile("wlstp.32 lr, %[lanes], 2f\n"
                   "1: vldrw.32 q0, [%[bias]], #16\n"
                   "vstrw.32 q0, [%[acc]], #16\n"
                   "vstrw.32 q0, [%[second]], #16\n"
                   "letp lr, 1b\n"
                   "2:\n"
                   : [acc] "+r"(acc), [second] "+r"(second), [bias] "+r"(bias)
                   : [lanes] "r"(lanes)
                   : "q0", "lr", "memory");
}

/* Two windows and two output channels; s00 s01 belong to the first window. */
HT_INLINE void ht_sum_2x2(const ht_tap *taps, int32_t n, const int8_t *w0, const int8_t *w1,
                          int32_t *acc) {
    const ht_tap *second = taps + HT_WINDOW_TAPS;
    int32_t s00 = acc[0];
    int32_t s01 = acc[1];
    int32_t s10 = acc[HT_LANES];
    int32_t s11 = acc[HT_LANES + 1];
    __asm volatile("dlstp.8 lr, %[n]\n"
                   "1: vldrb.8 q0, [%[taps]], #16\n"
                   "vldrb.8 q1, [%[w0]], #16\n"
                   "vmladava.s8 %[s00], q0, q1\n"
                   "vldrb.8 q2, [%[w1]], #16\n"
                   "vmladava.s8 %[s01], q0, q2\n"
                   "vldrb.8 q3, [%[second]], #16\n"
                   "vmladava.s8 %[s10], q3, q1\n"
                   "vmladava.s8 %[s11], q3, q2\n"
                   "letp lr, 1b\n"
                   : [s00] "+Te"(s00), [s01] "+Te"(s01), [s10] "+Te"(s10), [s11] "+Te"(s11),
                     [taps] "+r"(taps), [second] "+r"(second), [w0] "+r"(w0), [w1] "+r"(w1)
                   : [n] "r"(n)
                   : "q0", "q1", "q2", "q3", "lr", "memory");
    acc[0] = s00;
    acc[1] = s01;
    acc[HT_LANES] = s10;
    acc[HT_LANES + 1] = s11;
}

/* The same of one window. */
HT_INLINE void ht_sum_1x2(const ht_tap *taps, int32_t n, const int8_t *w0, const int8_t *w1,
                          int32_t *acc) {
    int32_t s0 = acc[0];
    int32_t s1 = acc[1];
    __asm volatile("dlstp.8 lr, %[n]\n"
                   "1: vldrb.8 q0, [%[taps]], #16\n"
                   "vldrb.8 q1, [%[w0]], #16\n"
                   "vmladava.s8 %[s0], q0, q1\n"
                   "vldrb.8 q2, [%[w1]], #16\n"
                   "vmladava.s8 %[s1], q0, q2\n"
                   "letp lr, 1b\n"
                   : [s0] "+Te"(s0), [s1] "+Te"(s1), [taps] "+r"(taps), [w0] "+r"(w0), [w1] "+r"(w1)
                   : [n] "r"(n)
                   : "q0", "q1", "q2", "lr", "memory");
    acc[0] = s0;
    acc[1] = s1;
}

/* windows [pixels][HT_WINDOW_TAPS], n of each   weights [lanes] rows, `row` bytes apart
 * acc [pixels][HT_LANES] */
HT_HOT static void ht_sum_windows(const ht_tap *windows, int32_t pixels, const int8_t *weights,
                                  int32_t row, int32_t n, int32_t lanes, int32_t *acc) {
    if (lanes % 2 != 0) { /* the last channel goes with itself */
        acc[lanes] = 0;
        acc[HT_LANES + lanes] = 0;
    }
    for (const int32_t *last = acc + lanes; acc < last; acc += 2, weights += 2 * row) {
        const int8_t *next = acc + 1 < last ? weights + row : weights;
        if (pixels == 2) {
            ht_sum_2x2(windows, n, weights, next, acc);
        } else {
            ht_sum_1x2(windows, n, weights, next, acc);
        }
    }
}

/* Sixteen lanes of several taps. Products of even and of odd bytes, widened once more, make four
 * vectors of every fourth lane. */
HT_INLINE void ht_sum_16_channels(const int8_t *const *image, int32_t taps, const int8_t *weights,
                                  int32_t row, int32_t k, const int32_t *start, int32_t *acc) {
    const uint32x4_t fourth = vidupq_n_u32(0, 4);
    int32x4_t s0 = vldrwq_gather_shifted_offset_s32(start, fourth);
    int32x4_t s1 = vldrwq_gather_shifted_offset_s32(start + 1, fourth);
    int32x4_t s2 = vldrwq_gather_shifted_offset_s32(start + 2, fourth);
    int32x4_t s3 = vldrwq_gather_shifted_offset_s32(start + 3, fourth);
    for (; taps > 0; taps--, weights += row) {
        const int8x16_t codes = vldrbq_s8(*image++ + k);
        const int8x16_t w = vldrbq_s8(weights);
        const int16x8_t even = vmullbq_int_s8(codes, w);
        const int16x8_t odd = vmulltq_int_s8(codes, w);
        s0 = vaddq_s32(s0, vmovlbq_s16(even));
        s1 = vaddq_s32(s1, vmovlbq_s16(odd));
        s2 = vaddq_s32(s2, vmovltq_s16(even));
        s3 = vaddq_s32(s3, vmovltq_s16(odd));
    }
    vstrwq_scatter_shifted_offset_s32(acc, fourth, s0);
    vstrwq_scatter_shifted_offset_s32(acc + 1, fourth, s1);
    vstrwq_scatter_shifted_offset_s32(acc + 2, fourth, s2);
    vstrwq_scatter_shifted_offset_s32(acc + 3, fourth, s3);
}

/* image [taps] rows of lanes codes   weights [taps] rows, `row` bytes apart   start, acc [lanes],
 * which may be the same */
HT_HOT static void ht_sum_channels(const int8_t *const *image, const int8_t *weights, int32_t row,
                                   int32_t taps, int32_t lanes, const int32_t *start,
                                   int32_t *acc) {
    const int8_t *const *end = image + taps;
    int32_t k = 0;
    for (; k + 16 <= lanes; k += 16) {
        ht_sum_16_channels(image, taps, weights + k, row, k, start + k, acc + k);
    }
    for (; k < lanes; k += 4) {
        const mve_pred16_t some = ht_first_lanes32(lanes - k);
        const int8_t *w = weights + k;
        int32x4_t sum = vldrwq_z_s32(start + k, some);
        for (const int8_t *const *from = image; from < end; w += row) {
            const int32x4_t codes = vldrbq_z_s32(*from++ + k, some);
            sum = vaddq_s32(sum, vmulq_s32(codes, vldrbq_z_s32(w, some)));
        }
        vstrwq_p_s32(acc + k, sum, some);
    }
}

/* out[k] of acc[k]; mult and shift are one for all lanes when step is 0, one for each when 1. */
HT_INLINE void ht_finish_lanes(const ht_output_stage *stage, const int32_t *acc,
                               const int32_t *mult, const int8_t *shift, int32_t step,
                               int32_t lanes, int8_t *out) {
    const int32x4_t low = vdupq_n_s32(stage->act_min);
    const int32x4_t high = vdupq_n_s32(stage->act_max);
    const int32_t zero = stage->out_zero; /* here, for stores of codes could change *stage */
    int32x4_t m = vdupq_n_s32(*mult);
    int32x4_t s = vdupq_n_s32(*shift);
    for (int32_t fours = lanes / 4; fours > 0; fours--) {
        if (step != 0) {
            m = vldrwq_s32(mult);
            s = vldrbq_s32(shift);
        }
        const int32x4_t x = vaddq_n_s32(ht_requantize4(vldrwq_s32(acc), m, s), zero);
        vstrbq_s32(out, vminq_s32(vmaxq_s32(x, low), high));
        acc += 4;
        out += 4;
        mult += 4 * step;
        shift += 4 * step;
    }
    if (lanes % 4 != 0) {
        const mve_pred16_t some = ht_first_lanes32(lanes % 4);
        if (step != 0) {
            m = vldrwq_z_s32(mult, some);
            s = vldrbq_z_s32(shift, some);
        }
        const int32x4_t x = vaddq_n_s32(ht_requantize4(vldrwq_z_s32(acc, some), m, s), zero);
        vstrbq_p_s32(out, vminq_s32(vmaxq_s32(x, low), high), some);
    }
}

#endif

/* Cortex-M with Helium (MVE): sixteen products of 8 bits are one instruction. */
#ifndef HARDTACK_HT_VECTOR_MVE_H
#define HARDTACK_HT_VECTOR_MVE_H

#include "ht_lanes_mve.h"

typedef int8_t ht_tap;
#define HT_MVE_LOOP "dlstp.8 lr, %[n]\n"
#define HT_MVE_TAPS(vector, pointer) "vldrb.8 " vector ", [%[" pointer "]], #16\n"
#define HT_MVE_WEIGHTS(vector, pointer) "vldrb.8 " vector ", [%[" pointer "]], #16\n"
#define HT_MVE_ADD(sum, taps, weights) "vmladava.s8 %[" sum "], " taps ", " weights "\n"
#define HT_MVE_POINTER "+r"

#include "ht_sums_mve.h"

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

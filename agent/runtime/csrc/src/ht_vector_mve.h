/* Cortex-M with Helium (MVE): sixteen products of 8 bits are one instruction. */
#ifndef HARDTACK_HT_VECTOR_MVE_H
#define HARDTACK_HT_VECTOR_MVE_H

#include <arm_mve.h>

typedef int8_t ht_tap;

HT_INLINE mve_pred16_t ht_first_lanes8(int32_t n) {
    return vctp8q((uint32_t)n);
}

HT_INLINE mve_pred16_t ht_first_lanes32(int32_t n) {
    return vctp32q((uint32_t)n);
}

HT_INLINE void ht_copy_taps(ht_tap *window, int32_t at, const int8_t *codes, int32_t n) {
    for (ht_tap *to = window + at; n > 0; n -= 16, to += 16, codes += 16) {
        const mve_pred16_t lanes = ht_first_lanes8(n);
        vstrbq_p_s8(to, vldrbq_z_s8(codes, lanes), lanes);
    }
}

HT_INLINE void ht_fill_taps(ht_tap *window, int32_t at, int32_t code, int32_t n) {
    for (ht_tap *to = window + at; n > 0; n -= 16, to += 16) {
        vstrbq_p_s8(to, vdupq_n_s8((int8_t)code), ht_first_lanes8(n));
    }
}

/* Two windows and two output channels; s00 s01 belong to the first window. Behind the last tap
 * weights are read as zero, and windows have room to be read. */
HT_INLINE void ht_sum_2x2(const ht_tap *taps, int32_t n, const int8_t *w0, const int8_t *w1,
                          int32_t *acc) {
    int32_t s00 = acc[0];
    int32_t s01 = acc[1];
    int32_t s10 = acc[HT_LANES];
    int32_t s11 = acc[HT_LANES + 1];
    for (; n >= 16; n -= 16, taps += 16, w0 += 16, w1 += 16) {
        const int8x16_t a = vldrbq_s8(taps);
        const int8x16_t b = vldrbq_s8(taps + HT_WINDOW_TAPS);
        const int8x16_t x = vldrbq_s8(w0);
        const int8x16_t y = vldrbq_s8(w1);
        s00 = vmladavaq_s8(s00, a, x);
        s01 = vmladavaq_s8(s01, a, y);
        s10 = vmladavaq_s8(s10, b, x);
        s11 = vmladavaq_s8(s11, b, y);
    }
    if (n > 0) {
        const mve_pred16_t lanes = ht_first_lanes8(n);
        const int8x16_t a = vldrbq_s8(taps);
        const int8x16_t b = vldrbq_s8(taps + HT_WINDOW_TAPS);
        const int8x16_t x = vldrbq_z_s8(w0, lanes);
        const int8x16_t y = vldrbq_z_s8(w1, lanes);
        s00 = vmladavaq_s8(s00, a, x);
        s01 = vmladavaq_s8(s01, a, y);
        s10 = vmladavaq_s8(s10, b, x);
        s11 = vmladavaq_s8(s11, b, y);
    }
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
    for (; n >= 16; n -= 16, taps += 16, w0 += 16, w1 += 16) {
        const int8x16_t a = vldrbq_s8(taps);
        s0 = vmladavaq_s8(s0, a, vldrbq_s8(w0));
        s1 = vmladavaq_s8(s1, a, vldrbq_s8(w1));
    }
    if (n > 0) {
        const mve_pred16_t lanes = ht_first_lanes8(n);
        const int8x16_t a = vldrbq_s8(taps);
        s0 = vmladavaq_s8(s0, a, vldrbq_z_s8(w0, lanes));
        s1 = vmladavaq_s8(s1, a, vldrbq_z_s8(w1, lanes));
    }
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
 * rows of every fourth lane, which is how vld4q reads them and vst4q writes them. */
HT_INLINE void ht_sum_16_channels(const int8_t *const *image, const int8_t *const *end,
                                  const int8_t *weights, int32_t row, int32_t k,
                                  const int32_t *start, int32_t *acc) {
    int32x4x4_t sum = vld4q_s32(start);
    for (; image < end; weights += row) {
        const int8x16_t codes = vldrbq_s8(*image++ + k);
        const int8x16_t w = vldrbq_s8(weights);
        const int16x8_t even = vmullbq_int_s8(codes, w);
        const int16x8_t odd = vmulltq_int_s8(codes, w);
        sum.val[0] = vaddq_s32(sum.val[0], vmovlbq_s16(even));
        sum.val[1] = vaddq_s32(sum.val[1], vmovlbq_s16(odd));
        sum.val[2] = vaddq_s32(sum.val[2], vmovltq_s16(even));
        sum.val[3] = vaddq_s32(sum.val[3], vmovltq_s16(odd));
    }
    vst4q_s32(acc, sum);
}

/* image [taps] rows of lanes codes   weights [taps] rows, `row` bytes apart   start, acc [lanes],
 * which may be the same */
HT_HOT static void ht_sum_channels(const int8_t *const *image, const int8_t *weights, int32_t row,
                                   int32_t taps, int32_t lanes, const int32_t *start,
                                   int32_t *acc) {
    const int8_t *const *end = image + taps;
    int32_t k = 0;
    for (; k + 16 <= lanes; k += 16) {
        ht_sum_16_channels(image, end, weights + k, row, k, start + k, acc + k);
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
    for (int32_t k = 0; k < lanes; k += 4) {
        const mve_pred16_t some = ht_first_lanes32(lanes - k);
        const int32x4_t m = step != 0 ? vldrwq_z_s32(mult + k, some) : vdupq_n_s32(*mult);
        const int32x4_t s = step != 0 ? vldrbq_z_s32(shift + k, some) : vdupq_n_s32(*shift);
        const int32x4_t right = vminq_s32(s, vdupq_n_s32(0));
        int32x4_t x = vldrwq_z_s32(acc + k, some);
        x = vqrdmulhq_s32(vshlq_s32(x, vmaxq_s32(s, vdupq_n_s32(0))), m);
        /* as ht_requantize: less 1 where it is negative and shifted */
        x = vaddq_s32(x, vshrq_n_s32(vandq_s32(x, right), 31));
        x = vaddq_n_s32(vrshlq_s32(x, right), stage->out_zero);
        vstrbq_p_s32(out + k, vminq_s32(vmaxq_s32(x, low), high), some);
    }
}

#endif

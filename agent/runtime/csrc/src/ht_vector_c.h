/* Plain C, in the form that compilers vectorise. */
#ifndef HARDTACK_HT_VECTOR_C_H
#define HARDTACK_HT_VECTOR_C_H

typedef int16_t ht_tap; /* widened: compilers multiply and add pairs of them */

/* Where tap i of a window lies. */
HT_INLINE int32_t ht_tap_slot(int32_t i) {
    return i;
}

HT_INLINE void ht_copy_taps(ht_tap *window, int32_t at, const int8_t *codes, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        window[at + i] = codes[i];
    }
}

HT_INLINE void ht_fill_taps(ht_tap *window, int32_t at, int32_t code, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        window[at + i] = (ht_tap)code;
    }
}

/* acc[p][k] = bias[k] for two pixels. */
HT_INLINE void ht_start_sums(const int32_t *bias, int32_t lanes, int32_t *acc) {
    for (int32_t k = 0; k < lanes; k++) {
        acc[k] = bias[k];
        acc[HT_LANES + k] = bias[k];
    }
}

/* sum[k] += a . b_k for four rows b_k, `row` bytes apart: one load of `a` serves four products. */
HT_INLINE void ht_dot4(const ht_tap *a, const int8_t *b, int32_t row, int32_t n, int32_t *sum) {
    const int8_t *b1 = b + row;
    const int8_t *b2 = b1 + row;
    const int8_t *b3 = b2 + row;
    int32_t s0 = sum[0];
    int32_t s1 = sum[1];
    int32_t s2 = sum[2];
    int32_t s3 = sum[3];
    for (int32_t i = 0; i < n; i++) {
        s0 += a[i] * (int16_t)b[i];
        s1 += a[i] * (int16_t)b1[i];
        s2 += a[i] * (int16_t)b2[i];
        s3 += a[i] * (int16_t)b3[i];
    }
    sum[0] = s0;
    sum[1] = s1;
    sum[2] = s2;
    sum[3] = s3;
}

HT_INLINE int32_t ht_dot(const ht_tap *a, const int8_t *b, int32_t n) {
    int32_t sum = 0;
    for (int32_t i = 0; i < n; i++) {
        sum += a[i] * (int16_t)b[i];
    }
    return sum;
}

/* windows [pixels][HT_WINDOW_TAPS], n of each   weights [lanes] rows, `row` bytes apart
 * acc [pixels][HT_LANES] */
HT_INLINE void ht_sum_windows(const ht_tap *windows, int32_t pixels, const int8_t *weights,
                              int32_t row, int32_t n, int32_t lanes, int32_t *acc) {
    int32_t k = 0;
    for (; k + 4 <= lanes; k += 4) {
        for (int32_t p = 0; p < pixels; p++) {
            ht_dot4(windows + p * HT_WINDOW_TAPS, weights + k * row, row, n,
                    acc + p * HT_LANES + k);
        }
    }
    for (; k < lanes; k++) {
        for (int32_t p = 0; p < pixels; p++) {
            acc[p * HT_LANES + k] += ht_dot(windows + p * HT_WINDOW_TAPS, weights + k * row, n);
        }
    }
}

HT_INLINE void ht_add_products(const int8_t *a, const int8_t *b, int32_t lanes, int32_t *acc) {
    for (int32_t k = 0; k < lanes; k++) {
        acc[k] += (int16_t)a[k] * (int16_t)b[k];
    }
}

/* image [taps] rows of lanes codes   weights [taps] rows, `row` bytes apart   start, acc [lanes],
 * which may be the same */
HT_INLINE void ht_sum_channels(const int8_t *const *image, const int8_t *weights, int32_t row,
                               int32_t taps, int32_t lanes, const int32_t *start, int32_t *acc) {
    if (lanes == HT_LANES) { /* a constant count: compilers keep the sums in registers */
        int32_t sum[HT_LANES];
        for (int32_t k = 0; k < HT_LANES; k++) {
            sum[k] = start[k];
        }
        for (int32_t t = 0; t < taps; t++) {
            ht_add_products(image[t], weights + t * row, HT_LANES, sum);
        }
        for (int32_t k = 0; k < HT_LANES; k++) {
            acc[k] = sum[k];
        }
        return;
    }
    for (int32_t k = 0; k < lanes; k++) {
        acc[k] = start[k];
    }
    for (int32_t t = 0; t < taps; t++) {
        ht_add_products(image[t], weights + t * row, lanes, acc);
    }
}

/* out[k] of acc[k]; mult and shift are one for all lanes when step is 0, one for each when 1. */
HT_INLINE void ht_finish_lanes(const ht_output_stage *stage, const int32_t *acc,
                               const int32_t *mult, const int8_t *shift, int32_t step,
                               int32_t lanes, int8_t *out) {
    const int32_t zero = stage->out_zero;
    const int32_t low = stage->act_min;
    const int32_t high = stage->act_max;
    for (int32_t k = 0; k < lanes; k++) {
        const int32_t scaled = ht_requantize(acc[k], mult[k * step], shift[k * step]);
        out[k] = ht_clamp_s8(ht_add_wrapping(scaled, zero), low, high);
    }
}

#endif

#include "../ht_vector_s16.h"

#if !defined(__ARM_FEATURE_MVE) || defined(HT_PORTABLE)
HT_INLINE void add_products(const int16_t *codes, const int8_t *weights, int32_t lanes,
                            int32_t *sum) {
    for (int32_t k = 0; k < lanes; k++) {
        sum[k] += codes[k] * (int16_t)weights[k];
    }
}
#endif

#ifdef HT_PAIRS

/* Two codes from any even address. */
HT_INLINE int32_t load2(const int16_t *codes) {
    int32_t pair;
    memcpy(&pair, codes, sizeof pair);
    return pair;
}

/* As ht_sum_channels: four channels at a time stay in registers. */
HT_HOT static void sum_channels(const int16_t *const *image, const int8_t *weights, int32_t row,
                                int32_t taps, int32_t lanes, const int32_t *start, int32_t *acc) {
    const int16_t *const *end = image + taps;
    int32_t k = 0;
    for (; k + 4 <= lanes; k += 4) {
        const int8_t *w = weights + k;
        int32_t s0 = start[k];
        int32_t s1 = start[k + 1];
        int32_t s2 = start[k + 2];
        int32_t s3 = start[k + 3];
        for (const int16_t *const *from = image; from < end; from++, w += row) {
            const int32_t x01 = load2(*from + k);
            const int32_t x23 = load2(*from + k + 2);
            const int32_t four = ht_load4(w);
            const int32_t w02 = ht_widen_even(four);
            const int32_t w13 = ht_widen_odd(four);
            s0 = __smlabb(x01, w02, s0);
            s1 = __smlatb(x01, w13, s1);
            s2 = __smlabt(x23, w02, s2);
            s3 = __smlatt(x23, w13, s3);
        }
        acc[k] = s0;
        acc[k + 1] = s1;
        acc[k + 2] = s2;
        acc[k + 3] = s3;
    }
    for (int32_t i = k; i < lanes; i++) {
        acc[i] = start[i];
    }
    for (int32_t t = 0; t < taps; t++) {
        add_products(image[t] + k, weights + t * row + k, lanes - k, acc + k);
    }
}

#elif defined(__ARM_FEATURE_MVE) && !defined(HT_PORTABLE)

/* As ht_sum_channels: four channels at a time. */
HT_HOT static void sum_channels(const int16_t *const *image, const int8_t *weights, int32_t row,
                                int32_t taps, int32_t lanes, const int32_t *start, int32_t *acc) {
    const int16_t *const *end = image + taps;
    for (int32_t k = 0; k < lanes; k += 4) {
        const mve_pred16_t some = ht_first_lanes32(lanes - k);
        const int8_t *w = weights + k;
        int32x4_t sum = vldrwq_z_s32(start + k, some);
        for (const int16_t *const *from = image; from < end; w += row) {
            const int32x4_t codes = vldrhq_z_s32(*from++ + k, some);
            sum = vaddq_s32(sum, vmulq_s32(codes, vldrbq_z_s32(w, some)));
        }
        vstrwq_p_s32(acc + k, sum, some);
    }
}

#else

HT_INLINE void sum_channels(const int16_t *const *image, const int8_t *weights, int32_t row,
                            int32_t taps, int32_t lanes, const int32_t *start, int32_t *acc) {
    for (int32_t k = 0; k < lanes; k++) {
        acc[k] = start[k];
    }
    for (int32_t t = 0; t < taps; t++) {
        add_products(image[t], weights + t * row, lanes, acc);
    }
}

#endif

#define CODE int16_t
#define KERNEL ht_depthwise_conv_2d_s16
#define SUM_CHANNELS sum_channels
#include "../ht_depthwise_conv_2d.h"

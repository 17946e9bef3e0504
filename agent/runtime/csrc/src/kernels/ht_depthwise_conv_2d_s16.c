#include "../ht_vector_s16.h"

HT_INLINE void add_products(const int16_t *codes, const int8_t *weights, int32_t lanes,
                            int32_t *sum) {
    for (int32_t k = 0; k < lanes; k++) {
        sum[k] += codes[k] * (int16_t)weights[k];
    }
}

HT_INLINE void sum_channels(const int16_t *const *image, const int8_t *weights, int32_t row,
                            int32_t taps, int32_t lanes, const int32_t *start, int32_t *acc) {
    for (int32_t k = 0; k < lanes; k++) {
        acc[k] = start[k];
    }
    for (int32_t t = 0; t < taps; t++) {
        add_products(image[t], weights + t * row, lanes, acc);
    }
}

#define CODE int16_t
#define KERNEL ht_depthwise_conv_2d_s16
#define SUM_CHANNELS sum_channels
#include "../ht_depthwise_conv_2d.h"

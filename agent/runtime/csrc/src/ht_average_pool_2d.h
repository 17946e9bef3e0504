/* Means of windows.
 *
 * A kernel defines CODE, the type of the codes, and KERNEL, its name, before it includes this. */
#include "ht_pool.h"
#include "ht_requantize.h"
#include "ht_vector.h"

#define LANES 32 /* channels summed side by side: 128 bytes of stack */

/* sum / count, halves away from zero. */
HT_INLINE int32_t rounded_mean(int32_t sum, int32_t count) {
    return (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
}

HT_INLINE void add_codes(int32_t *sum, const CODE *codes, int32_t lanes) {
    for (int32_t k = 0; k < lanes; k++) {
        sum[k] += codes[k];
    }
}

HT_INLINE void pool_lanes(const CODE *in, ht_dims dims, ht_range y, ht_range x, int32_t lanes,
                          int32_t *sum) {
    for (int32_t k = 0; k < lanes; k++) {
        sum[k] = 0;
    }
    for (int32_t iy = y.first; iy < y.last; iy++) {
        for (int32_t ix = x.first; ix < x.last; ix++) {
            add_codes(sum, in + (iy * dims.w + ix) * dims.c, lanes);
        }
    }
}

HT_MULTIARCH
void KERNEL(const CODE *in, ht_dims in_dims, const ht_window *window, int32_t act_min,
            int32_t act_max, CODE *out, ht_dims out_dims) {
    for (int32_t oy = 0; oy < out_dims.h; oy++) {
        const ht_range y =
            ht_clip(oy, window->stride_h, window->pad_top, window->kernel_h, in_dims.h);
        for (int32_t ox = 0; ox < out_dims.w; ox++) {
            const ht_range x =
                ht_clip(ox, window->stride_w, window->pad_left, window->kernel_w, in_dims.w);
            const int32_t count = (y.last - y.first) * (x.last - x.first);
            for (int32_t first = 0; first < in_dims.c; first += LANES) {
                const int32_t left = in_dims.c - first;
                const int32_t lanes = left < LANES ? left : LANES;
                int32_t sum[LANES];
                pool_lanes(in + first, in_dims, y, x, lanes, sum);
                for (int32_t k = 0; k < lanes; k++) {
                    *out++ = (CODE)ht_clamp(rounded_mean(sum[k], count), act_min, act_max);
                }
            }
        }
    }
}

/* Largest codes of windows.
 *
 * A kernel defines CODE, the type of the codes, and KERNEL, its name, before it includes this. */
#include "ht_fill.h"
#include "ht_pool.h"
#include "ht_requantize.h"
#include "ht_vector.h"

HT_INLINE void raise_to(CODE *best, const CODE *codes, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        best[i] = codes[i] > best[i] ? codes[i] : best[i];
    }
}

HT_MULTIARCH
void KERNEL(const CODE *in, ht_dims in_dims, const ht_window *window, int32_t act_min,
            int32_t act_max, CODE *out, ht_dims out_dims) {
    const int32_t c = in_dims.c;
    for (int32_t oy = 0; oy < out_dims.h; oy++) {
        const ht_range y =
            ht_clip(oy, window->stride_h, window->pad_top, window->kernel_h, in_dims.h);
        for (int32_t ox = 0; ox < out_dims.w; ox++, out += c) {
            const ht_range x =
                ht_clip(ox, window->stride_w, window->pad_left, window->kernel_w, in_dims.w);
            HT_FILL(out, HT_LEAST_CODE(CODE), c);
            for (int32_t iy = y.first; iy < y.last; iy++) {
                for (int32_t ix = x.first; ix < x.last; ix++) {
                    raise_to(out, in + (iy * in_dims.w + ix) * c, c);
                }
            }
            for (int32_t i = 0; i < c; i++) {
                out[i] = (CODE)ht_clamp(out[i], act_min, act_max);
            }
        }
    }
}

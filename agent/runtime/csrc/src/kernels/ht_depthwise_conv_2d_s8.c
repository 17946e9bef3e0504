#include "../ht_vector.h"
#include "hardtack/ht_kernels.h"

HT_INLINE void add_tap(int32_t *acc, const int8_t *image, const int8_t *weights, int32_t lanes) {
    for (int32_t k = 0; k < lanes; k++) {
        acc[k] += (int16_t)image[k] * (int16_t)weights[k];
    }
}

HT_INLINE void add_tap_repeated(int32_t *acc, const int8_t *image, int32_t first,
                                int32_t multiplier, const int8_t *weights, int32_t lanes) {
    for (int32_t k = 0; k < lanes; k++) {
        acc[k] += image[(first + k) / multiplier] * weights[k];
    }
}

HT_INLINE void add_outside(int32_t *acc, int32_t in_zero, const int8_t *weights, int32_t lanes) {
    for (int32_t k = 0; k < lanes; k++) {
        acc[k] += in_zero * weights[k];
    }
}

typedef struct job {
    const int8_t *in;
    const int8_t *weights;
    const ht_window *window;
    ht_dims in_dims;
    int32_t n_out;
    int32_t in_zero;
} job;

/* Sum all taps into acc[0..lanes), output channels first.. of the pixel whose tap (0, 0) lies at
 * image position y, x. */
HT_INLINE void accumulate(const job *j, int32_t y, int32_t x, int32_t first, int32_t lanes,
                          int32_t *acc) {
    const ht_window *window = j->window;
    const int32_t multiplier = j->n_out / j->in_dims.c;
    const int8_t *weights = j->weights + first;
    for (int32_t ky = 0; ky < window->kernel_h; ky++) {
        const int32_t iy = y + ky * window->dilation_h;
        const int row_inside = iy >= 0 && iy < j->in_dims.h;
        for (int32_t kx = 0; kx < window->kernel_w; kx++, weights += j->n_out) {
            const int32_t ix = x + kx * window->dilation_w;
            if (!row_inside || ix < 0 || ix >= j->in_dims.w) {
                add_outside(acc, j->in_zero, weights, lanes);
                continue;
            }
            const int8_t *image = j->in + (iy * j->in_dims.w + ix) * j->in_dims.c;
            if (multiplier == 1) {
                add_tap(acc, image + first, weights, lanes);
            } else {
                add_tap_repeated(acc, image, first, multiplier, weights, lanes);
            }
        }
    }
}

HT_INLINE void convolve_pixel(const job *j, int32_t y, int32_t x, const int32_t *bias,
                              const ht_output_stage *stage, int8_t *out) {
    for (int32_t first = 0; first < j->n_out; first += HT_LANES) {
        const int32_t left = j->n_out - first;
        int32_t acc[HT_LANES];
        if (left >= HT_LANES) { /* a constant count: the compiler unrolls it into registers */
            for (int32_t k = 0; k < HT_LANES; k++) {
                acc[k] = bias[first + k];
            }
            accumulate(j, y, x, first, HT_LANES, acc);
            ht_finish_s8(stage, acc, first, HT_LANES, out + first);
        } else {
            for (int32_t k = 0; k < left; k++) {
                acc[k] = bias[first + k];
            }
            accumulate(j, y, x, first, left, acc);
            ht_finish_s8(stage, acc, first, left, out + first);
        }
    }
}

HT_MULTIARCH
void ht_depthwise_conv_2d_s8(const int8_t *in, ht_dims in_dims, const int8_t *weights,
                             const int32_t *bias, const ht_window *window, int32_t in_zero,
                             const ht_output_stage *stage, int8_t *out, ht_dims out_dims) {
    const job j = {in, weights, window, in_dims, out_dims.c, in_zero};
    for (int32_t oy = 0; oy < out_dims.h; oy++) {
        for (int32_t ox = 0; ox < out_dims.w; ox++) {
            const int32_t y = oy * window->stride_h - window->pad_top;
            const int32_t x = ox * window->stride_w - window->pad_left;
            convolve_pixel(&j, y, x, bias, stage, out);
            out += out_dims.c;
        }
    }
}

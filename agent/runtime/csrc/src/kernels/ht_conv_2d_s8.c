#include "../ht_vector.h"
#include "hardtack/ht_kernels.h"

/* The taps of one axis that fall inside the image: [first, last). */
typedef struct taps {
    int32_t first, last;
} taps;

HT_INLINE taps taps_inside(int32_t origin, int32_t dilation, int32_t kernel, int32_t size) {
    taps inside = {0, kernel};
    if (origin < 0) {
        inside.first = (-origin + dilation - 1) / dilation;
    }
    const int32_t after = size - origin; /* > 0 where any tap is inside */
    const int32_t fitting = after > 0 ? (after + dilation - 1) / dilation : 0;
    inside.last = fitting < kernel ? fitting : kernel;
    inside.first = inside.first < inside.last ? inside.first : inside.last;
    return inside;
}

/* Everything that stays the same from one output pixel to the next. */
typedef struct job {
    const int8_t *in;
    const int8_t *weights;
    const int32_t *bias;
    const ht_window *window;
    const ht_output_stage *stage;
    ht_dims in_dims;
    int32_t group_c; /* input channels of a group */
    int32_t filter;  /* bytes of one output channel's weights */
    int32_t in_zero;
} job;

/* Add to sum[0..lanes) one row of taps that lie side by side in memory, in the image and in the
 * filter: lanes output channels share the image's bytes. */
HT_INLINE void add_run(const job *j, const int8_t *image, const int8_t *weights, int32_t n,
                       int32_t lanes, int32_t *sum) {
    if (lanes == 4) {
        ht_dot4_s8(image, weights, j->filter, n, sum);
        return;
    }
    for (int32_t k = 0; k < lanes; k++) {
        sum[k] += ht_dot_s8(image, weights + k * j->filter, n);
    }
}

/* Taps outside the image read in_zero; the bias has subtracted it for every tap. */
HT_INLINE void add_outside(const job *j, const int8_t *weights, int32_t n, int32_t lanes,
                           int32_t *sum) {
    for (int32_t k = 0; n > 0 && k < lanes; k++) {
        sum[k] += j->in_zero * ht_sum_s8(weights + k * j->filter, n);
    }
}

/* acc[0..lanes) of one output pixel, for the output channels whose weights begin at `weights`.
 *
 * y, x     image position of tap (0, 0), may be negative
 * channel  first input channel of the group */
HT_INLINE void accumulate(const job *j, int32_t y, int32_t x, int32_t channel,
                          const int8_t *weights, int32_t lanes, int32_t *acc) {
    const ht_window *window = j->window;
    const int32_t c = j->group_c;
    const taps rows = taps_inside(y, window->dilation_h, window->kernel_h, j->in_dims.h);
    const taps cols = taps_inside(x, window->dilation_w, window->kernel_w, j->in_dims.w);
    const int32_t row_bytes = window->kernel_w * c;
    const int packed = window->dilation_w == 1 && c == j->in_dims.c;
    const int32_t run = packed ? (cols.last - cols.first) * c : c;
    const int32_t runs = packed ? (run > 0) : cols.last - cols.first;
    add_outside(j, weights, rows.first * row_bytes, lanes, acc);
    for (int32_t ky = rows.first; ky < rows.last; ky++) {
        const int8_t *row = weights + ky * row_bytes;
        const int32_t iy = y + ky * window->dilation_h;
        add_outside(j, row, cols.first * c, lanes, acc);
        for (int32_t i = 0; i < runs; i++) {
            const int32_t kx = cols.first + i;
            const int32_t ix = x + kx * window->dilation_w;
            const int8_t *image = j->in + (iy * j->in_dims.w + ix) * j->in_dims.c + channel;
            add_run(j, image, row + kx * c, run, lanes, acc);
        }
        add_outside(j, row + cols.last * c, row_bytes - cols.last * c, lanes, acc);
    }
    add_outside(j, weights + rows.last * row_bytes, j->filter - rows.last * row_bytes, lanes, acc);
}

/* Write the window of one group, widened, to wide[0..filter): taps outside the image as in_zero. */
HT_INLINE void gather(const job *j, int32_t y, int32_t x, int32_t channel, int16_t *wide) {
    const ht_window *window = j->window;
    const int32_t c = j->group_c;
    const int packed = window->dilation_w == 1 && c == j->in_dims.c;
    for (int32_t ky = 0; ky < window->kernel_h; ky++) {
        const int32_t iy = y + ky * window->dilation_h;
        const int row_inside = iy >= 0 && iy < j->in_dims.h;
        const int8_t *row = j->in + (row_inside ? iy * j->in_dims.w * j->in_dims.c : 0) + channel;
        if (row_inside && packed && x >= 0 && x + window->kernel_w <= j->in_dims.w) {
            ht_widen_s8(row + x * c, window->kernel_w * c, wide);
            wide += window->kernel_w * c;
            continue;
        }
        for (int32_t kx = 0; kx < window->kernel_w; kx++, wide += c) {
            const int32_t ix = x + kx * window->dilation_w;
            if (row_inside && ix >= 0 && ix < j->in_dims.w) {
                ht_widen_s8(row + ix * j->in_dims.c, c, wide);
                continue;
            }
            for (int32_t k = 0; k < c; k++) {
                wide[k] = (int16_t)j->in_zero;
            }
        }
    }
}

/* acc[0..lanes) of one output pixel, from its gathered window or from the image. */
HT_INLINE void sum_taps(const job *j, int32_t y, int32_t x, int32_t channel, const int16_t *wide,
                        const int8_t *weights, int32_t lanes, int32_t *acc) {
    if (j->filter > HT_WINDOW_TAPS) {
        accumulate(j, y, x, channel, weights, lanes, acc);
    } else if (lanes == 4) {
        ht_dot4_s16(wide, weights, j->filter, j->filter, acc);
    } else {
        acc[0] += ht_dot_s16(wide, weights, j->filter);
    }
}

/* One output pixel: all output channels, four at a time within a group. */
HT_INLINE void convolve_pixel(const job *j, int32_t y, int32_t x, int32_t n_out, int8_t *out) {
    int16_t wide[HT_WINDOW_TAPS];
    const int32_t groups = j->in_dims.c / j->group_c;
    const int32_t per_group = n_out / groups;
    for (int32_t g = 0; g < groups; g++) {
        const int32_t channel = g * j->group_c;
        const int32_t end = (g + 1) * per_group;
        if (j->filter <= HT_WINDOW_TAPS) {
            gather(j, y, x, channel, wide);
        }
        for (int32_t first = g * per_group; first < end; first += HT_LANES) {
            const int32_t lanes = end - first < HT_LANES ? end - first : HT_LANES;
            int32_t acc[HT_LANES];
            for (int32_t k = 0; k < lanes; k++) {
                acc[k] = j->bias[first + k];
            }
            for (int32_t k = 0; k < lanes;) {
                const int32_t step = lanes - k >= 4 ? 4 : 1;
                const int8_t *weights = j->weights + (first + k) * j->filter;
                sum_taps(j, y, x, channel, wide, weights, step, acc + k);
                k += step;
            }
            ht_finish_s8(j->stage, acc, first, lanes, out + first);
        }
    }
}

HT_MULTIARCH
void ht_conv_2d_s8(const int8_t *in, ht_dims in_dims, const int8_t *weights, int32_t group_c,
                   const int32_t *bias, const ht_window *window, int32_t in_zero,
                   const ht_output_stage *stage, int8_t *out, ht_dims out_dims) {
    const job j = {.in = in,
                   .weights = weights,
                   .bias = bias,
                   .window = window,
                   .stage = stage,
                   .in_dims = in_dims,
                   .group_c = group_c,
                   .filter = window->kernel_h * window->kernel_w * group_c,
                   .in_zero = in_zero};
    for (int32_t oy = 0; oy < out_dims.h; oy++) {
        for (int32_t ox = 0; ox < out_dims.w; ox++) {
            const int32_t y = oy * window->stride_h - window->pad_top;
            const int32_t x = ox * window->stride_w - window->pad_left;
            convolve_pixel(&j, y, x, out_dims.c, out);
            out += out_dims.c;
        }
    }
}

#include "../ht_vector.h"
#include "hardtack/ht_kernels.h"

/* Everything that stays the same from one output pixel to the next. */
typedef struct job {
    const int8_t *in;
    const ht_window *window;
    ht_dims in_dims;
    int32_t group_c; /* input channels of a group */
    int32_t in_zero;
} job;

/* Where a window lies: the image position of its tap (0, 0), and the first channel of its group. */
typedef struct place {
    int32_t y, x, channel;
} place;

/* Taps first..first + n of one row of a window; outside the image they are in_zero. */
HT_INLINE void gather_row(const job *j, const int8_t *row, int32_t x, int32_t first, int32_t n,
                          ht_tap *taps, int32_t at) {
    const int32_t c = j->group_c;
    const int32_t step = j->window->dilation_w;
    if (step == 1 && c == j->in_dims.c && x >= 0 && x + j->window->kernel_w <= j->in_dims.w) {
        ht_copy_taps(taps, at, row + x * c + first, n);
        return;
    }
    const int32_t kx = first / c;
    int32_t skip = first - kx * c;
    for (int32_t ix = x + kx * step; n > 0; ix += step, skip = 0) {
        const int32_t run = c - skip < n ? c - skip : n;
        if (ix >= 0 && ix < j->in_dims.w) {
            ht_copy_taps(taps, at, row + ix * j->in_dims.c + skip, run);
        } else {
            ht_fill_taps(taps, at, j->in_zero, run);
        }
        at += run;
        n -= run;
    }
}

/* Taps first..first + n of a window. */
HT_INLINE void gather(const job *j, place from, int32_t first, int32_t n, ht_tap *taps) {
    const int32_t row_taps = j->window->kernel_w * j->group_c;
    const int32_t ky = first / row_taps;
    int32_t skip = first - ky * row_taps;
    int32_t iy = from.y + ky * j->window->dilation_h;
    for (int32_t at = 0; at < n; iy += j->window->dilation_h, skip = 0) {
        const int32_t run = row_taps - skip < n - at ? row_taps - skip : n - at;
        if (iy >= 0 && iy < j->in_dims.h) {
            const int8_t *row = j->in + iy * j->in_dims.w * j->in_dims.c + from.channel;
            gather_row(j, row, from.x, skip, run, taps, at);
        } else {
            ht_fill_taps(taps, at, j->in_zero, run);
        }
        at += run;
    }
}

/* The output pixels under way, and what they are summed with. */
typedef struct block {
    const int8_t *weights; /* of output channel 0 */
    const int32_t *bias;
    const ht_output_stage *stage;
    int32_t filter; /* taps of a window */
    int32_t n_out;
} block;

/* Sum one group's windows of one or two pixels: as many output channels at a time as there are
 * lanes, as many taps as a window's buffer holds. */
HT_INLINE void sum_group(const job *j, const block *b, const place *places, int32_t pixels,
                         int32_t begin, int32_t end, int8_t *out) {
    HT_ALIGNED ht_tap windows[HT_PIXELS * HT_WINDOW_TAPS];
    int32_t acc[HT_PIXELS * HT_LANES];
    for (int32_t first = begin; first < end; first += HT_LANES) {
        const int32_t lanes = end - first < HT_LANES ? end - first : HT_LANES;
        ht_start_sums(b->bias + first, lanes, acc);
        const int8_t *weights = b->weights + first * b->filter;
        for (int32_t tap = 0; tap < b->filter; tap += HT_WINDOW_TAPS) {
            const int32_t left = b->filter - tap;
            const int32_t n = left < HT_WINDOW_TAPS ? left : HT_WINDOW_TAPS;
            for (int32_t p = 0; p < pixels && (first == begin || b->filter > n); p++) {
                gather(j, places[p], tap, n, windows + p * HT_WINDOW_TAPS);
            }
            ht_sum_windows(windows, pixels, weights + tap, b->filter, n, lanes, acc);
        }
        for (int32_t p = 0; p < pixels; p++) {
            ht_finish_s8(b->stage, acc + p * HT_LANES, first, lanes, out + p * b->n_out + first);
        }
    }
}

HT_MULTIARCH
void ht_conv_2d_s8(const int8_t *in, ht_dims in_dims, const int8_t *weights, int32_t group_c,
                   const int32_t *bias, const ht_window *window, int32_t in_zero,
                   const ht_output_stage *stage, int8_t *out, ht_dims out_dims) {
    const job j = {in, window, in_dims, group_c, in_zero};
    const block b = {weights, bias, stage, window->kernel_h * window->kernel_w * group_c,
                     out_dims.c};
    const int32_t groups = in_dims.c / group_c;
    const int32_t per_group = out_dims.c / groups;
    const int32_t total = out_dims.h * out_dims.w;
    int32_t oy = 0;
    int32_t ox = 0;
    for (int32_t done = 0; done < total; done += HT_PIXELS) {
        const int32_t pixels = total - done < HT_PIXELS ? total - done : HT_PIXELS;
        place places[HT_PIXELS];
        for (int32_t p = 0; p < pixels; p++) {
            places[p].y = oy * window->stride_h - window->pad_top;
            places[p].x = ox * window->stride_w - window->pad_left;
            ox++;
            if (ox == out_dims.w) {
                ox = 0;
                oy++;
            }
        }
        for (int32_t g = 0; g < groups; g++) {
            places[0].channel = g * group_c;
            places[HT_PIXELS - 1].channel = g * group_c;
            sum_group(&j, &b, places, pixels, g * per_group, (g + 1) * per_group, out);
        }
        out += pixels * out_dims.c;
    }
}

/* Convolution of each channel by its own kernels.
 *
 * A kernel defines CODE, the type of the codes, KERNEL, its name, and SUM_CHANNELS, as
 * ht_sum_channels, before it includes this; OUT_AT and FINISH as ht_finish.h says. */
#include "hardtack/ht_kernels.h"
#include "ht_fill.h"
#include "ht_finish.h"
#include "ht_vector.h"

#define TAPS 16 /* summed at a time */

typedef struct job {
    const CODE *in;
    const int8_t *weights;
    const ht_window *window;
    ht_dims in_dims;
    int32_t n_out;
    int32_t multiplier; /* output channels of an input channel */
    int32_t in_zero;
} job;

/* Codes of up to HT_LANES output channels for each of some taps: in the image, or here when they
 * lie outside it or several output channels read the same input channel. */
typedef struct tap_rows {
    const CODE *image[TAPS];
    CODE outside[HT_LANES];
    CODE repeated[TAPS][HT_LANES];
} tap_rows;

/* Find taps tap..tap + n of the pixel whose tap (0, 0) lies at image position y, x, for input
 * channels first... Offsets of taps far outside the image wrap, and are not used. */
HT_INLINE void find_taps(const job *j, int32_t y, int32_t x, int32_t tap, int32_t n, int32_t first,
                         tap_rows *rows) {
    const ht_window *window = j->window;
    const uint32_t row = (uint32_t)j->in_dims.w;
    const uint32_t c = (uint32_t)j->in_dims.c;
    const uint32_t step = (uint32_t)window->dilation_w * c;
    const int32_t ky = tap / window->kernel_w;
    int32_t kx = tap - ky * window->kernel_w;
    int32_t iy = y + ky * window->dilation_h;
    const CODE **image = rows->image;
    for (const CODE **end = image + n; image < end; iy += window->dilation_h, kx = 0) {
        const int32_t left = (int32_t)(end - image);
        const int32_t run = window->kernel_w - kx < left ? window->kernel_w - kx : left;
        const CODE *const *row_end = image + run;
        int32_t ix = x + kx * window->dilation_w;
        const uint32_t width = (uint32_t)iy < (uint32_t)j->in_dims.h ? row : 0;
        uint32_t at = ((uint32_t)iy * row + (uint32_t)ix) * c + (uint32_t)first;
        for (; image < row_end; ix += window->dilation_w, at += step) {
            *image++ = (uint32_t)ix < width ? j->in + at : rows->outside;
        }
    }
}

/* The same taps, HT_LANES channels on. */
HT_INLINE void advance(int32_t n, tap_rows *rows) {
    for (int32_t t = 0; t < n; t++) {
        rows->image[t] += rows->image[t] != rows->outside ? HT_LANES : 0;
    }
}

/* Give each of `lanes` output channels, the first at `skip` among those of its input channel, the
 * code that it reads. */
HT_INLINE void repeat_codes(const job *j, int32_t n, int32_t skip, int32_t lanes, tap_rows *rows) {
    for (int32_t t = 0; t < n; t++) {
        const CODE *code = rows->image[t];
        if (code == rows->outside) {
            continue;
        }
        rows->image[t] = rows->repeated[t];
        int32_t left = j->multiplier - skip;
        for (int32_t k = 0; k < lanes; k++, left--) {
            if (left == 0) {
                left = j->multiplier;
                code++;
            }
            rows->repeated[t][k] = *code;
        }
    }
}

HT_INLINE void sum_pixel(const job *j, int32_t y, int32_t x, const int32_t *bias,
                         const ht_output_stage *stage, tap_rows *rows, int8_t *out) {
    const int32_t taps = j->window->kernel_h * j->window->kernel_w;
    for (int32_t first = 0; first < j->n_out; first += HT_LANES) {
        const int32_t left = j->n_out - first;
        const int32_t lanes = left < HT_LANES ? left : HT_LANES;
        int32_t acc[HT_LANES];
        for (int32_t tap = 0; tap < taps; tap += TAPS) {
            const int32_t n = taps - tap < TAPS ? taps - tap : TAPS;
            const int32_t channel = first / j->multiplier;
            if (first > 0 && n == taps && j->multiplier == 1) {
                advance(n, rows);
            } else {
                find_taps(j, y, x, tap, n, channel, rows);
            }
            if (j->multiplier > 1) {
                repeat_codes(j, n, first - channel * j->multiplier, lanes, rows);
            }
            SUM_CHANNELS(rows->image, j->weights + tap * j->n_out + first, j->n_out, n, lanes,
                         tap == 0 ? bias + first : acc, acc);
        }
        FINISH(stage, acc, first, lanes, OUT_AT(stage, out, first));
    }
}

HT_MULTIARCH
void KERNEL(const CODE *in, ht_dims in_dims, const int8_t *weights, const int32_t *bias,
            const ht_window *window, int32_t in_zero, const ht_output_stage *stage, int8_t *out,
            ht_dims out_dims) {
    const job j = {in, weights, window, in_dims, out_dims.c, out_dims.c / in_dims.c, in_zero};
    tap_rows rows;
    HT_FILL(rows.outside, in_zero, HT_LANES);
    for (int32_t oy = 0; oy < out_dims.h; oy++) {
        for (int32_t ox = 0; ox < out_dims.w; ox++) {
            const int32_t y = oy * window->stride_h - window->pad_top;
            const int32_t x = ox * window->stride_w - window->pad_left;
            sum_pixel(&j, y, x, bias, stage, &rows, out);
            out = OUT_AT(stage, out, out_dims.c);
        }
    }
}

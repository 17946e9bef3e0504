/* The windows of a convolution, gathered: where they lie, and their taps one after another.
 *
 * A kernel defines before it includes this, in the form that it multiplies:
 *
 * CODE        the type of the codes, int8_t if it is not said
 * TAP         the type of a tap
 * COPY_TAPS   codes to taps at..at + n of a window
 * FILL_TAPS   the same from one code */
#ifndef HARDTACK_HT_GATHER_H
#define HARDTACK_HT_GATHER_H

#include "ht_vector.h"

#ifndef CODE
#define CODE int8_t
#endif

/* Everything that stays the same from one output pixel to the next. */
typedef struct job {
    const CODE *in;
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
HT_INLINE void gather_row(const job *j, const CODE *row, int32_t x, int32_t first, int32_t n,
                          TAP *taps, int32_t at) {
    const int32_t c = j->group_c;
    const int32_t step = j->window->dilation_w;
    if (step == 1 && c == j->in_dims.c && x >= 0 && x + j->window->kernel_w <= j->in_dims.w) {
        COPY_TAPS(taps, at, row + x * c + first, n);
        return;
    }
    const int32_t kx = first / c;
    int32_t skip = first - kx * c;
    for (int32_t ix = x + kx * step; n > 0; ix += step, skip = 0) {
        const int32_t run = c - skip < n ? c - skip : n;
        if (ix >= 0 && ix < j->in_dims.w) {
            COPY_TAPS(taps, at, row + ix * j->in_dims.c + skip, run);
        } else {
            FILL_TAPS(taps, at, j->in_zero, run);
        }
        at += run;
        n -= run;
    }
}

/* Taps first..first + n of a window. */
HT_INLINE void gather(const job *j, place from, int32_t first, int32_t n, TAP *taps) {
    const int32_t row_taps = j->window->kernel_w * j->group_c;
    const int32_t ky = first / row_taps;
    int32_t skip = first - ky * row_taps;
    int32_t iy = from.y + ky * j->window->dilation_h;
    for (int32_t at = 0; at < n; iy += j->window->dilation_h, skip = 0) {
        const int32_t run = row_taps - skip < n - at ? row_taps - skip : n - at;
        if (iy >= 0 && iy < j->in_dims.h) {
            const CODE *row = j->in + iy * j->in_dims.w * j->in_dims.c + from.channel;
            gather_row(j, row, from.x, skip, run, taps, at);
        } else {
            FILL_TAPS(taps, at, j->in_zero, run);
        }
        at += run;
    }
}

/* The windows of the next `pixels` output pixels, from pixel *ox of row *oy on. */
HT_INLINE void find_places(const job *j, int32_t width, int32_t pixels, int32_t *oy, int32_t *ox,
                           place *places) {
    for (int32_t p = 0; p < pixels; p++) {
        places[p].y = *oy * j->window->stride_h - j->window->pad_top;
        places[p].x = *ox * j->window->stride_w - j->window->pad_left;
        places[p].channel = 0;
        *ox += 1;
        if (*ox == width) {
            *ox = 0;
            *oy += 1;
        }
    }
}

#endif

/* Convolution row by row of weights: unpacked, with a sparse high plane or without, or packed. */
#ifndef HARDTACK_HT_CONV_DENSE_H
#define HARDTACK_HT_CONV_DENSE_H

#include <stddef.h>

#include "ht_expand.h"
#include "ht_finish.h"
#include "ht_sparse.h"
#include "ht_vector.h"

#define TAP ht_tap
#ifndef COPY_TAPS
#define COPY_TAPS ht_copy_taps
#define FILL_TAPS ht_fill_taps
#endif
#include "ht_gather.h"

/* The output pixels under way, and what they are summed with. */
typedef struct block {
    const int8_t *weights;   /* of output channel 0, or NULL: */
    ht_expansion *expansion; /* packed ones */
    const uint8_t *high;     /* entries of a high plane, or NULL */
    const int32_t *bias;
    const ht_output_stage *stage;
    int32_t filter; /* taps of a window */
    int32_t n_out;
    int32_t lanes; /* output channels at a time */
} block;

/* acc += 256 * window . high for up to HT_SPARSE_ROWS rows, whose entries begin here; returns their
 * end. n taps are gathered, whole blocks of the plane or what is left of them. */
HT_INLINE const uint8_t *sum_high(const uint8_t *entry, const ht_tap *windows, int32_t pixels,
                                  int32_t n, int32_t lanes, int32_t *acc) {
    for (int32_t at = 0; at < n; at += HT_SPARSE_TAPS) {
        for (int32_t k = 0; k < lanes; k++) {
            const uint8_t *end = entry + 1 + 2 * entry[0];
            for (entry++; entry < end; entry += 2) {
                const ht_tap *tap = windows + ht_tap_slot(at + entry[0]);
                const int32_t value = (int8_t)entry[1] * 256;
                for (int32_t p = 0; p < pixels; p++) {
                    acc[p * HT_LANES + k] += value * tap[p * HT_WINDOW_TAPS];
                }
            }
        }
    }
    return entry;
}

/* Sum one group's windows of one or two pixels: as many output channels at a time as there are
 * lanes, as many taps as a window's buffer holds. */
HT_INLINE void sum_group(const job *j, const block *b, const place *places, int32_t pixels,
                         int32_t begin, int32_t end, int8_t *out) {
    HT_ALIGNED ht_tap windows[HT_PIXELS * HT_WINDOW_TAPS];
    int32_t acc[HT_PIXELS * HT_LANES];
    const uint8_t *high = b->high;
    for (int32_t first = begin; first < end; first += b->lanes) {
        const int32_t lanes = end - first < b->lanes ? end - first : b->lanes;
        ht_start_sums(b->bias + first, lanes, acc);
        for (int32_t at = 0; at < b->filter; at += HT_WINDOW_TAPS) {
            const int32_t left = b->filter - at;
            const int32_t n = left < HT_WINDOW_TAPS ? left : HT_WINDOW_TAPS;
            for (int32_t p = 0; p < pixels && (first == begin || b->filter > n); p++) {
                gather(j, places[p], at, n, windows + p * HT_WINDOW_TAPS);
            }
            if (b->expansion != NULL) {
                ht_sum_expanded(b->expansion, windows, pixels, first, lanes, at, n, acc);
            } else {
                const int8_t *weights = b->weights + first * b->filter + at;
                ht_sum_windows(windows, pixels, weights, b->filter, n, lanes, acc);
            }
            if (high != NULL) {
                high = sum_high(high, windows, pixels, n, lanes, acc);
            }
        }
        for (int32_t p = 0; p < pixels; p++) {
            FINISH(b->stage, acc + p * HT_LANES, first, lanes,
                   OUT_AT(b->stage, out, p * b->n_out + first));
        }
    }
}

/* Every output pixel. */
HT_INLINE void convolve(const job *j, const block *b, ht_dims out_dims, int8_t *out) {
    const int32_t groups = j->in_dims.c / j->group_c;
    const int32_t per_group = out_dims.c / groups;
    const int32_t total = out_dims.h * out_dims.w;
    int32_t oy = 0;
    int32_t ox = 0;
    for (int32_t done = 0; done < total; done += HT_PIXELS) {
        const int32_t pixels = total - done < HT_PIXELS ? total - done : HT_PIXELS;
        place places[HT_PIXELS];
        find_places(j, out_dims.w, pixels, &oy, &ox, places);
        for (int32_t g = 0; g < groups; g++) {
            places[0].channel = g * j->group_c;
            places[HT_PIXELS - 1].channel = g * j->group_c;
            sum_group(j, b, places, pixels, g * per_group, (g + 1) * per_group, out);
        }
        out = OUT_AT(b->stage, out, pixels * out_dims.c);
    }
}

#endif

#include <string.h>

#include "../ht_sparse.h"
#include "../ht_vector.h"
#include "hardtack/ht_kernels.h"

#define PIXELS 4 /* output pixels that one pass over the entries serves */

HT_INLINE void copy_codes(int8_t *window, int32_t at, const int8_t *codes, int32_t n) {
    for (; n >= 4; n -= 4, at += 4, codes += 4) {
        memcpy(window + at, codes, 4); /* a load and a store where unaligned words may be */
    }
    for (; n > 0; n--) {
        window[at++] = *codes++;
    }
}

HT_INLINE void fill_codes(int8_t *window, int32_t at, int32_t code, int32_t n) {
    for (int32_t i = at; i < at + n; i++) {
        window[i] = (int8_t)code;
    }
}

#define TAP int8_t
#define COPY_TAPS copy_codes
#define FILL_TAPS fill_codes
#include "../ht_gather.h"

/* The output pixels under way, their windows, and where the reading has come to. */
typedef struct block {
    const int8_t *windows[PIXELS]; /* of one block of taps: in the image, or gathered here */
    int8_t gathered[PIXELS][HT_SPARSE_TAPS];
    int32_t acc[PIXELS][HT_SPARSE_ROWS];
    int32_t channel, first; /* of those windows; -1: none yet */
    const uint8_t *entries;
    int32_t pixels;
} block;

/* A window of one tap is the image's own bytes. */
HT_INLINE void see_windows(const job *j, const place *places, int32_t channel, int32_t first,
                           int32_t n, block *b) {
    const int is_point = j->window->kernel_h == 1 && j->window->kernel_w == 1;
    if (b->channel == channel && b->first == first) {
        return;
    }
    b->channel = channel;
    b->first = first;
    for (int32_t p = 0; p < b->pixels; p++) {
        const place at = {places[p].y, places[p].x, channel};
        if (is_point && at.y >= 0 && at.y < j->in_dims.h && at.x >= 0 && at.x < j->in_dims.w) {
            const int32_t pixel = at.y * j->in_dims.w + at.x;
            b->windows[p] = j->in + pixel * j->in_dims.c + channel + first;
        } else {
            gather(j, at, first, n, b->gathered[p]);
            b->windows[p] = b->gathered[p];
        }
    }
}

/* acc[p] += window p . the row whose entries begin here, for four windows; returns their end. */
HT_HOT static const uint8_t *sum_row_4(const uint8_t *entry, const int8_t *const *windows,
                                       int32_t *acc) {
    const uint8_t *end = entry + 1 + 2 * entry[0];
    const int8_t *w0 = windows[0];
    const int8_t *w1 = windows[1];
    const int8_t *w2 = windows[2];
    const int8_t *w3 = windows[3];
    int32_t s0 = acc[0];
    int32_t s1 = acc[HT_SPARSE_ROWS];
    int32_t s2 = acc[2 * HT_SPARSE_ROWS];
    int32_t s3 = acc[3 * HT_SPARSE_ROWS];
    for (entry++; entry < end; entry += 2) {
        const uint32_t i = entry[0];
        const int32_t value = (int8_t)entry[1];
        s0 += value * w0[i];
        s1 += value * w1[i];
        s2 += value * w2[i];
        s3 += value * w3[i];
    }
    acc[0] = s0;
    acc[HT_SPARSE_ROWS] = s1;
    acc[2 * HT_SPARSE_ROWS] = s2;
    acc[3 * HT_SPARSE_ROWS] = s3;
    return end;
}

/* The same for one window. */
HT_HOT static const uint8_t *sum_row_1(const uint8_t *entry, const int8_t *window, int32_t *acc) {
    const uint8_t *end = entry + 1 + 2 * entry[0];
    int32_t sum = *acc;
    for (entry++; entry < end; entry += 2) {
        sum += (int8_t)entry[1] * window[entry[0]];
    }
    *acc = sum;
    return end;
}

HT_INLINE void sum_row(block *b, int32_t row) {
    if (b->pixels == PIXELS) {
        b->entries = sum_row_4(b->entries, b->windows, &b->acc[0][row]);
        return;
    }
    const uint8_t *end = b->entries;
    for (int32_t p = 0; p < b->pixels; p++) {
        end = sum_row_1(b->entries, b->windows[p], &b->acc[p][row]);
    }
    b->entries = end;
}

/* Sum rows first..first + lanes, which may be of several groups. */
HT_INLINE void sum_set(const job *j, const place *places, int32_t filter, int32_t per_group,
                       int32_t first, int32_t lanes, block *b) {
    for (int32_t at = 0; at < filter; at += HT_SPARSE_TAPS) {
        const int32_t n = filter - at < HT_SPARSE_TAPS ? filter - at : HT_SPARSE_TAPS;
        int32_t group_end = first; /* the row from which the windows are others */
        for (int32_t row = 0; row < lanes; row++) {
            if (first + row == group_end) {
                const int32_t group = group_end / per_group;
                see_windows(j, places, group * j->group_c, at, n, b);
                group_end = (group + 1) * per_group;
            }
            sum_row(b, row);
        }
    }
}

HT_INLINE void start_sums(const int32_t *bias, int32_t lanes, block *b) {
    for (int32_t p = 0; p < b->pixels; p++) {
        for (int32_t k = 0; k < lanes; k++) {
            b->acc[p][k] = bias[k];
        }
    }
}

HT_MULTIARCH
void ht_conv_2d_sparse_s8(const int8_t *in, ht_dims in_dims, const int8_t *weights, int32_t group_c,
                          const int32_t *bias, const ht_window *window, int32_t in_zero,
                          const ht_output_stage *stage, int8_t *out, ht_dims out_dims) {
    const job j = {in, window, in_dims, group_c, in_zero};
    const int32_t filter = window->kernel_h * window->kernel_w * group_c;
    const int32_t per_group = out_dims.c / (in_dims.c / group_c);
    const int32_t total = out_dims.h * out_dims.w;
    int32_t oy = 0;
    int32_t ox = 0;
    block b;
    for (int32_t done = 0; done < total; done += PIXELS) {
        place places[PIXELS];
        b.pixels = total - done < PIXELS ? total - done : PIXELS;
        b.entries = (const uint8_t *)weights;
        b.channel = -1;
        find_places(&j, out_dims.w, b.pixels, &oy, &ox, places);
        for (int32_t first = 0; first < out_dims.c; first += HT_SPARSE_ROWS) {
            const int32_t left = out_dims.c - first;
            const int32_t lanes = left < HT_SPARSE_ROWS ? left : HT_SPARSE_ROWS;
            start_sums(bias + first, lanes, &b);
            sum_set(&j, places, filter, per_group, first, lanes, &b);
            for (int32_t p = 0; p < b.pixels; p++) {
                ht_finish_s8(stage, b.acc[p], first, lanes, out + p * out_dims.c + first);
            }
        }
        out += b.pixels * out_dims.c;
    }
}

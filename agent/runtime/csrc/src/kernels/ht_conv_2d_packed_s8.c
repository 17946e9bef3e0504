#include <string.h>

#include "../ht_packed.h"
#include "../ht_vector.h"
#include "hardtack/ht_kernels.h"

#define TAP ht_tap
#define COPY_TAPS ht_copy_taps
#define FILL_TAPS ht_fill_taps
#include "../ht_gather.h"

#define ROWS 4 /* of weights, expanded at a time */

/* The weights that a byte of indices stands for, as they lie in memory: two of 4 bits, four of 2;
 * of single bits four, which half a byte stands for. */
typedef union expansion {
    uint16_t two[256];
    uint32_t four[256];
} expansion;

/* What stays the same from one output pixel to the next, and the rows under way. */
typedef struct block {
    const ht_packed *packed;
    const int32_t *bias;
    const ht_output_stage *stage;
    int32_t filter; /* taps of a window */
    int32_t n_out;
    expansion table;
    HT_ALIGNED int8_t rows[ROWS * HT_WINDOW_TAPS];
} block;

HT_INLINE void build_expansion(const ht_packed *packed, expansion *table) {
    const uint32_t bits = packed->bits;
    const uint32_t mask = (1u << bits) - 1;
    const uint32_t count = bits == 1 ? 16 : 256;
    for (uint32_t i = 0; i < count; i++) {
        int8_t codes[4];
        for (uint32_t k = 0; k < 4; k++) {
            codes[k] = packed->book[i >> (k * bits & 7) & mask];
        }
        if (bits == 4) {
            memcpy(&table->two[i], codes, 2);
        } else {
            memcpy(&table->four[i], codes, 4);
        }
    }
}

/* Expand the indices of n taps, to whole bytes of them: HT_WINDOW_TAPS leaves room for that. */
HT_HOT static void expand(const expansion *table, uint32_t bits, const uint8_t *in, int32_t n,
                          int8_t *out) {
    const int8_t *end = out + n;
    if (bits == 4) {
        for (; out < end; out += 2) {
            memcpy(out, &table->two[*in++], 2);
        }
    } else if (bits == 2) {
        for (; out < end; out += 4) {
            memcpy(out, &table->four[*in++], 4);
        }
    } else {
        for (; out < end; out += 8, in++) {
            memcpy(out, &table->four[*in & 15], 4);
            memcpy(out + 4, &table->four[*in >> 4], 4);
        }
    }
}

/* acc += windows . rows first..first + lanes, for taps at..at + n. */
HT_INLINE void sum_rows(block *b, const ht_tap *windows, int32_t pixels, int32_t first,
                        int32_t lanes, int32_t at, int32_t n, int32_t *acc) {
    const ht_packed *packed = b->packed;
    const uint8_t *in = packed->rows + (uint32_t)first * packed->row_bytes;
    in += (uint32_t)at * packed->bits / 8;
    for (int32_t k = 0; k < lanes; k += ROWS) {
        const int32_t rows = lanes - k < ROWS ? lanes - k : ROWS;
        for (int32_t r = 0; r < rows; r++, in += packed->row_bytes) {
            expand(&b->table, packed->bits, in, n, b->rows + r * HT_WINDOW_TAPS);
        }
        ht_sum_windows(windows, pixels, b->rows, HT_WINDOW_TAPS, n, rows, acc + k);
    }
}

/* Sum one group's windows of one or two pixels, as ht_conv_2d_s8 does. */
HT_INLINE void sum_group(const job *j, block *b, const place *places, int32_t pixels, int32_t begin,
                         int32_t end, int8_t *out) {
    HT_ALIGNED ht_tap windows[HT_PIXELS * HT_WINDOW_TAPS];
    int32_t acc[HT_PIXELS * HT_LANES];
    for (int32_t first = begin; first < end; first += HT_LANES) {
        const int32_t lanes = end - first < HT_LANES ? end - first : HT_LANES;
        ht_start_sums(b->bias + first, lanes, acc);
        for (int32_t at = 0; at < b->filter; at += HT_WINDOW_TAPS) {
            const int32_t left = b->filter - at;
            const int32_t n = left < HT_WINDOW_TAPS ? left : HT_WINDOW_TAPS;
            for (int32_t p = 0; p < pixels && (first == begin || b->filter > n); p++) {
                gather(j, places[p], at, n, windows + p * HT_WINDOW_TAPS);
            }
            sum_rows(b, windows, pixels, first, lanes, at, n, acc);
        }
        for (int32_t p = 0; p < pixels; p++) {
            ht_finish_s8(b->stage, acc + p * HT_LANES, first, lanes, out + p * b->n_out + first);
        }
    }
}

HT_MULTIARCH
void ht_conv_2d_packed_s8(const int8_t *in, ht_dims in_dims, const int8_t *weights, int32_t group_c,
                          const int32_t *bias, const ht_window *window, int32_t in_zero,
                          const ht_output_stage *stage, int8_t *out, ht_dims out_dims) {
    const job j = {in, window, in_dims, group_c, in_zero};
    const int32_t filter = window->kernel_h * window->kernel_w * group_c;
    const ht_packed packed = ht_packed_read((const uint8_t *)weights, filter);
    const int32_t groups = in_dims.c / group_c;
    const int32_t per_group = out_dims.c / groups;
    const int32_t total = out_dims.h * out_dims.w;
    int32_t oy = 0;
    int32_t ox = 0;
    block b;
    b.packed = &packed;
    b.bias = bias;
    b.stage = stage;
    b.filter = filter;
    b.n_out = out_dims.c;
    build_expansion(&packed, &b.table);
    for (int32_t done = 0; done < total; done += HT_PIXELS) {
        const int32_t pixels = total - done < HT_PIXELS ? total - done : HT_PIXELS;
        place places[HT_PIXELS];
        find_places(&j, out_dims.w, pixels, &oy, &ox, places);
        for (int32_t g = 0; g < groups; g++) {
            places[0].channel = g * group_c;
            places[HT_PIXELS - 1].channel = g * group_c;
            sum_group(&j, &b, places, pixels, g * per_group, (g + 1) * per_group, out);
        }
        out += pixels * out_dims.c;
    }
}

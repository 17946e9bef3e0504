/* Weights coded as packed, expanded a few rows at a time on their way into the sums. */
#ifndef HARDTACK_HT_EXPAND_H
#define HARDTACK_HT_EXPAND_H

#include <string.h>

#include "ht_packed.h"
#include "ht_vector.h"

#define HT_EXPANDED_ROWS 4

/* What a byte of indices stands for, as weights lie in memory: two of 4 bits, four of 2; of single
 * bits four, which half a byte stands for. And the rows under way. */
typedef struct ht_expansion {
    ht_packed packed;
    union {
        uint16_t two[256];
        uint32_t four[256];
    } table;
    HT_ALIGNED int8_t rows[HT_EXPANDED_ROWS * HT_WINDOW_TAPS];
} ht_expansion;

HT_INLINE void ht_expansion_start(ht_expansion *e, const uint8_t *stored, int32_t taps) {
    e->packed = ht_packed_read(stored, taps);
    const uint32_t bits = e->packed.bits;
    const uint32_t mask = (1u << bits) - 1;
    const uint32_t count = bits == 1 ? 16 : 256;
    for (uint32_t i = 0; i < count; i++) {
        int8_t codes[4];
        for (uint32_t k = 0; k < 4; k++) {
            codes[k] = e->packed.book[i >> (k * bits & 7) & mask];
        }
        if (bits == 4) {
            memcpy(&e->table.two[i], codes, 2);
        } else {
            memcpy(&e->table.four[i], codes, 4);
        }
    }
}

/* One byte of indices, and where the next goes. */
#define HT_EXPAND_TWO (memcpy(out, &e->table.two[*in++], 2), out += 2)
#define HT_EXPAND_FOUR (memcpy(out, &e->table.four[*in++], 4), out += 4)
#define HT_EXPAND_EIGHT                                                                            \
    (memcpy(out, &e->table.four[*in & 15], 4), memcpy(out + 4, &e->table.four[*in++ >> 4], 4),     \
     out += 8)

/* The indices of n taps, to whole bytes of them: rows have room for that. Four bytes to a round. */
HT_HOT static void ht_expand_row(const ht_expansion *e, const uint8_t *in, int32_t n, int8_t *out) {
    const int8_t *end = out + n;
    if (e->packed.bits == 4) {
        while (end - out >= 8) {
            HT_EXPAND_TWO, HT_EXPAND_TWO, HT_EXPAND_TWO, HT_EXPAND_TWO;
        }
        while (out < end) {
            HT_EXPAND_TWO;
        }
    } else if (e->packed.bits == 2) {
        while (end - out >= 16) {
            HT_EXPAND_FOUR, HT_EXPAND_FOUR, HT_EXPAND_FOUR, HT_EXPAND_FOUR;
        }
        while (out < end) {
            HT_EXPAND_FOUR;
        }
    } else {
        while (end - out >= 32) {
            HT_EXPAND_EIGHT, HT_EXPAND_EIGHT, HT_EXPAND_EIGHT, HT_EXPAND_EIGHT;
        }
        while (out < end) {
            HT_EXPAND_EIGHT;
        }
    }
}

/* acc += windows . rows first..first + lanes, for their taps at..at + n. */
HT_INLINE void ht_sum_expanded(ht_expansion *e, const ht_tap *windows, int32_t pixels,
                               int32_t first, int32_t lanes, int32_t at, int32_t n, int32_t *acc) {
    const uint32_t row_bytes = e->packed.row_bytes;
    const uint8_t *in =
        e->packed.rows + (uint32_t)first * row_bytes + (uint32_t)at * e->packed.bits / 8;
    for (int32_t k = 0; k < lanes; k += HT_EXPANDED_ROWS) {
        const int32_t rows = lanes - k < HT_EXPANDED_ROWS ? lanes - k : HT_EXPANDED_ROWS;
        for (int32_t r = 0; r < rows; r++, in += row_bytes) {
            ht_expand_row(e, in, n, e->rows + r * HT_WINDOW_TAPS);
        }
        ht_sum_windows(windows, pixels, e->rows, HT_WINDOW_TAPS, n, rows, acc + k);
    }
}

#endif

/* Weights coded as packed on their way into the sums: in pairs where two products are one
 * instruction, else expanded a few rows at a time. Either way there are
 *
 * ht_expansion        what that takes
 * ht_expansion_start  fills in its table
 * ht_sum_expanded     acc += windows . rows first..first + lanes, for their taps at..at + n */
#ifndef HARDTACK_HT_EXPAND_H
#define HARDTACK_HT_EXPAND_H

#include <string.h>

#include "ht_packed.h"
#include "ht_vector.h"

/* The indices of a row from tap `at` on, which is a multiple of eight. */
HT_INLINE const uint8_t *ht_packed_at(const ht_packed *packed, int32_t row, int32_t at) {
    return packed->rows + (uint32_t)row * packed->row_bytes + (uint32_t)at / 8 * packed->bits;
}

#ifdef HT_PAIRS

/* What the bits of two indices stand for, two weights widened. */
typedef struct ht_expansion {
    ht_packed packed;
    int32_t pairs[256];
} ht_expansion;

HT_INLINE void ht_expansion_start(ht_expansion *e, const uint8_t *stored, int32_t taps) {
    e->packed = ht_packed_read(stored, taps);
    const uint32_t bits = e->packed.bits;
    const uint32_t mask = (1u << bits) - 1;
    for (uint32_t i = 0; i < 1u << 2 * bits; i++) {
        const uint32_t first = (uint32_t)e->packed.book[i & mask];
        const uint32_t second = (uint32_t)e->packed.book[i >> bits];
        e->pairs[i] = (int32_t)((first & 0xFFFFu) | second << 16);
    }
}

/* Four weights and their taps, of one or two windows. */
#define HT_ADD_PAIRS(first, second)                                                                \
    do {                                                                                           \
        const int32_t w0 = pairs[first];                                                           \
        const int32_t w1 = pairs[second];                                                          \
        int32_t x;                                                                                 \
        int32_t y;                                                                                 \
        HT_LOAD_PAIRS(taps, 0, x, y);                                                              \
        s0 = __smlad(w1, y, __smlad(w0, x, s0));                                                   \
        if (pixels == 2) {                                                                         \
            HT_LOAD_PAIRS(taps, HT_WINDOW_TAPS, x, y);                                             \
            s1 = __smlad(w1, y, __smlad(w0, x, s1));                                               \
        }                                                                                          \
        taps += 2;                                                                                 \
    } while (0)

/* Sums of one row, eight taps to a round; what is left are pairs again. */
HT_INLINE void ht_sum_row(const ht_expansion *e, uint32_t bits, const uint8_t *in,
                          const ht_tap_pair *taps, int32_t n, int32_t pixels, int32_t *acc) {
    const int32_t *pairs = e->pairs;
    const ht_tap_pair *end = taps + n / 8 * 4;
    int32_t s0 = acc[0];
    int32_t s1 = acc[HT_LANES];
    while (taps < end) {
        if (bits == 4) {
            HT_ADD_PAIRS(in[0], in[1]);
            HT_ADD_PAIRS(in[2], in[3]);
        } else if (bits == 2) {
            HT_ADD_PAIRS(in[0] & 15, in[0] >> 4);
            HT_ADD_PAIRS(in[1] & 15, in[1] >> 4);
        } else {
            HT_ADD_PAIRS(in[0] & 3, in[0] >> 2 & 3);
            HT_ADD_PAIRS(in[0] >> 4 & 3, in[0] >> 6);
        }
        in += bits;
    }
    end += (n % 8 + 1) / 2;
    for (uint32_t shift = 0; taps < end; shift += 2 * bits, taps++) {
        const int32_t pair = pairs[in[shift / 8] >> shift % 8 & ((1u << 2 * bits) - 1)];
        s0 = __smlad(pair, taps[0], s0);
        s1 = __smlad(pair, taps[HT_WINDOW_TAPS / 2], s1);
    }
    acc[0] = s0;
    acc[HT_LANES] = s1;
}

HT_INLINE void ht_sum_rows(const ht_expansion *e, uint32_t bits, const uint8_t *in,
                           const ht_tap *windows, int32_t n, int32_t pixels, int32_t lanes,
                           int32_t *acc) {
    for (int32_t k = 0; k < lanes; k++, in += e->packed.row_bytes) {
        if (pixels == 2) {
            ht_sum_row(e, bits, in, (const ht_tap_pair *)windows, n, 2, acc + k);
        } else {
            ht_sum_row(e, bits, in, (const ht_tap_pair *)windows, n, 1, acc + k);
        }
    }
}

/* A loop for each number of bits, so that it is a constant there. */
HT_HOT static void ht_sum_packed(const ht_expansion *e, const uint8_t *in, const ht_tap *windows,
                                 int32_t n, int32_t pixels, int32_t lanes, int32_t *acc) {
    if (e->packed.bits == 4) {
        ht_sum_rows(e, 4, in, windows, n, pixels, lanes, acc);
    } else if (e->packed.bits == 2) {
        ht_sum_rows(e, 2, in, windows, n, pixels, lanes, acc);
    } else {
        ht_sum_rows(e, 1, in, windows, n, pixels, lanes, acc);
    }
}

HT_INLINE void ht_sum_expanded(ht_expansion *e, ht_tap *windows, int32_t pixels, int32_t first,
                               int32_t lanes, int32_t at, int32_t n, int32_t *acc) {
    if (n % 2 != 0) { /* the last tap is half a pair */
        windows[n] = 0;
        windows[HT_WINDOW_TAPS + n] = 0;
    }
    ht_sum_packed(e, ht_packed_at(&e->packed, first, at), windows, n, pixels, lanes, acc);
}

#else

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

HT_INLINE void ht_sum_expanded(ht_expansion *e, ht_tap *windows, int32_t pixels, int32_t first,
                               int32_t lanes, int32_t at, int32_t n, int32_t *acc) {
    const uint32_t row_bytes = e->packed.row_bytes;
    const uint8_t *in = ht_packed_at(&e->packed, first, at);
    for (int32_t k = 0; k < lanes; k += HT_EXPANDED_ROWS) {
        const int32_t rows = lanes - k < HT_EXPANDED_ROWS ? lanes - k : HT_EXPANDED_ROWS;
        for (int32_t r = 0; r < rows; r++, in += row_bytes) {
            ht_expand_row(e, in, n, e->rows + r * HT_WINDOW_TAPS);
        }
        ht_sum_windows(windows, pixels, e->rows, HT_WINDOW_TAPS, n, rows, acc + k);
    }
}

#endif

#endif

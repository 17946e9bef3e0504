/* What both forms of gap-huff share: their gaps, and tables to decode them fast. */
#ifndef HARDTACK_HT_GAP_H
#define HARDTACK_HT_GAP_H

#include "ht_bit_reader.h"

typedef struct ht_gap_tensor {
    const ht_gap_decoders *by;
    uint32_t nonzeros; /* at most count */
    const uint8_t *in; /* what follows `nonzeros` */
    size_t size;
    int8_t *out;
    size_t count;
} ht_gap_tensor;

/* Decode zeros before each value; for tensors of no more values than zeros. */
ht_status ht_decode_between_values(const ht_gap_tensor *tensor);

/* Decode values before each zero. */
ht_status ht_decode_between_zeros(const ht_gap_tensor *tensor);

/* Read one gap: a symbol and its extra bits. */
static inline ht_status ht_next_gap(ht_bit_reader *reader, const ht_decoder *gaps, size_t *gap) {
    const unsigned entry = ht_next_symbol(reader, gaps);
    const unsigned symbol = entry >> 8;
    if (entry == 0) {
        return HT_ERR_CODE_STREAM;
    }
    if (symbol < 4) {
        *gap = symbol;
        return HT_OK;
    }
    const unsigned extra = symbol / 2 - 1;
    size_t value = 2 + symbol % 2;
    for (unsigned left = extra; left > 0;) {
        const unsigned bits = left < 16 ? left : 16;
        if ((int)bits > reader->available) {
            return HT_ERR_CODE_STREAM;
        }
        value = value << bits | reader->window >> (32 - bits);
        ht_skip_bits(reader, bits);
        left -= bits;
    }
    *gap = value;
    return HT_OK;
}

#if defined(HT_WIDE_WINDOW)

#define HT_AHEAD_FROM 1024 /* bytes; below, the tables take longer than they save */
#define HT_INDEX(window) ((window) >> (64 - HT_LUT_BITS))

/* A look-up that always finds something. */
typedef struct ht_gap_table {
    ht_lut_entry codes[1u << HT_LUT_BITS]; /* symbol << 8 | bits of the code and the extra ones */
    uint32_t bias[HT_GAP_SYMBOLS];         /* those bits + bias = gap + 1, modulo 2^32 */
} ht_gap_table;

/* Fill it from a complete code. */
void ht_look_ahead(const ht_decoder *gaps, ht_gap_table *table);

#endif

#endif

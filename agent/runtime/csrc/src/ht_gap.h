/* What both forms of gap-huff share: their gaps, and tables to decode them fast. */
#ifndef HARDTACK_HT_GAP_H
#define HARDTACK_HT_GAP_H

#include "ht_bit_reader.h"

#define HT_MAX_GAP_SYMBOL 55 /* gaps below 2^28, as tensors are */

/* Read one gap: a symbol and its extra bits. */
ht_status ht_next_gap(ht_bit_reader *reader, const ht_decoder *gaps, size_t *gap);

/* Gaps are zeros before each value; for tensors of no more values than zeros.
 *
 * in  the stream, or lengths, begins and streams */
ht_status ht_decode_between_values(const ht_decoder *values, const ht_decoder *gaps,
                                   uint32_t nonzeros, const uint8_t *in, size_t size, int8_t *out,
                                   size_t count);

/* Gaps are values before each zero.
 *
 * in  length of the gaps' stream, the stream, dense-huff of the values */
ht_status ht_decode_between_zeros(const ht_decoder *values, const ht_decoder *gaps,
                                  uint32_t nonzeros, const uint8_t *in, size_t size, int8_t *out,
                                  size_t count);

#if defined(HT_WIDE_WINDOW)

#define HT_AHEAD_FROM 1024 /* bytes; below, the tables take longer than they save */
#define HT_INDEX(window) ((window) >> (64 - HT_LUT_BITS))

/* A look-up that always finds something: what could be refused is found out here, once. */
typedef struct ht_gap_table {
    ht_lut_entry codes[1u << HT_LUT_BITS]; /* symbol << 8 | bits of the code and the extra ones */
    uint32_t bias[HT_MAX_GAP_SYMBOL + 1];  /* those bits + bias = gap + 1, modulo 2^32 */
} ht_gap_table;

/* Returns 0 for codes that need a closer look at every symbol: no encoder writes them, but for
 * codes of one symbol. */
int ht_look_ahead(const ht_decoder *gaps, ht_gap_table *table);

#endif

#endif

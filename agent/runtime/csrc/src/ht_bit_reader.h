/* What the codings by Huffman share: entries of look-up tables, and a stream read bit by bit. */
#ifndef HARDTACK_HT_BIT_READER_H
#define HARDTACK_HT_BIT_READER_H

#include "ht_lut.h"
#include "ht_vector.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error hardtack needs a little-endian processor
#endif

typedef struct ht_bit_reader {
    const uint8_t *next; /* first byte not yet in the window */
    const uint8_t *end;
    uint32_t window; /* the next bits, from the most significant down; zero after the last */
    int available;   /* bits of the window that the stream really holds */
} ht_bit_reader;

/* Begin at bit `offset`, 0..7, of the first byte. */
ht_bit_reader ht_open_stream(const uint8_t *bytes, size_t size, unsigned offset);

/* Go on by 1..24 bits, or 0. */
void ht_skip_bits(ht_bit_reader *reader, unsigned bits);

/* Returns symbol << 8 | length, or 0 at the end of the stream and for a code that is none. */
unsigned ht_next_symbol(ht_bit_reader *reader, const ht_decoder *decoder);

/* All bytes read, and only the zero bits that complete the last one are left. */
ht_status ht_close_stream(const ht_bit_reader *reader);

/* Find a code that the look-up table does not hold.
 *
 * window  the next 12 bits of the stream
 * Returns symbol << 8 | length, or 0 when no code begins so. */
unsigned ht_long_code(const ht_decoder *decoder, unsigned window);

#if HT_LUT_BITS == HT_MAX_CODE_LENGTH && defined(__GNUC__) && UINTPTR_MAX > 0xFFFFFFFFu
#define HT_WIDE_WINDOW /* 64 bits of a stream at a time */

HT_INLINE uint64_t ht_load64_be(const uint8_t *p) {
    return (uint64_t)p[0] << 56 | (uint64_t)p[1] << 48 | (uint64_t)p[2] << 40 |
           (uint64_t)p[3] << 32 | (uint64_t)p[4] << 24 | (uint64_t)p[5] << 16 |
           (uint64_t)p[6] << 8 | (uint64_t)p[7];
}
#endif

#endif

/* The coding `packed`: weights of few values, used where they lie (SPEC section 1.7).
 *
 * u8 bits of an index (1, 2 or 4), the codebook of 2^bits codes, then row after row the indices,
 * lowest bits first, each row padded to a byte. */
#ifndef HARDTACK_HT_PACKED_H
#define HARDTACK_HT_PACKED_H

#include <stdint.h>

/* What lies in such a tensor of rows of so many taps. */
typedef struct ht_packed {
    const int8_t *book;
    const uint8_t *rows;
    uint32_t row_bytes;
    uint32_t bits;
} ht_packed;

ht_packed ht_packed_read(const uint8_t *bytes, int32_t taps);

/* Is this such a tensor of rows * taps codes? Every index names an entry of the codebook, so only
 * the size is in question, and that padding is zero. */
int ht_packed_check(const uint8_t *bytes, uint32_t size, int32_t rows, int32_t taps);

#endif

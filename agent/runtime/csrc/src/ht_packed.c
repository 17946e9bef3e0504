#include "ht_packed.h"

#include <stddef.h>

ht_packed ht_packed_read(const uint8_t *bytes, int32_t taps) {
    const uint32_t bits = bytes[0];
    const int8_t *book = (const int8_t *)bytes + 1;
    const uint32_t row_bytes = ((uint32_t)taps * bits + 7) / 8;
    const ht_packed packed = {book, bytes + 1 + ((size_t)1 << bits), row_bytes, bits};
    return packed;
}

int ht_packed_check(const uint8_t *bytes, uint32_t size, int32_t rows, int32_t taps) {
    if (size < 1 || (bytes[0] != 1 && bytes[0] != 2 && bytes[0] != 4)) {
        return 0;
    }
    const ht_packed packed = ht_packed_read(bytes, taps);
    const uint64_t head = 1 + ((uint64_t)1 << packed.bits);
    if (size != head + (uint64_t)rows * packed.row_bytes) {
        return 0;
    }
    const uint32_t used = (uint32_t)taps * packed.bits % 8; /* bits of the last byte of a row */
    if (used == 0) {
        return 1;
    }
    const uint8_t *last = packed.rows + packed.row_bytes - 1;
    for (int32_t row = 0; row < rows; row++, last += packed.row_bytes) {
        if (*last >> used != 0) {
            return 0;
        }
    }
    return 1;
}

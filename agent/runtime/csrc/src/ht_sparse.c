#include "ht_sparse.h"

#include "ht_load.h"

/* Check the entries of one row in a block of n taps; *at is where they begin, then where they end.
 */
static int check_row(const uint8_t *bytes, uint32_t size, int32_t n, uint32_t *at) {
    if (*at >= size) {
        return 0;
    }
    const uint32_t count = bytes[*at];
    const uint8_t *entry = bytes + *at + 1;
    if (2 * count > size - *at - 1) {
        return 0;
    }
    int32_t before = -1;
    for (const uint8_t *end = entry + 2 * count; entry < end; entry += 2) {
        if (entry[0] <= before || entry[0] >= n || entry[1] == 0) {
            return 0;
        }
        before = entry[0];
    }
    *at += 1 + 2 * count;
    return 1;
}

int ht_sparse_check(const uint8_t *bytes, uint32_t size, int32_t rows, int32_t taps) {
    uint32_t at = 0;
    for (int32_t first = 0; first < rows; first += HT_SPARSE_ROWS) {
        const int32_t left = rows - first;
        const int32_t lanes = left < HT_SPARSE_ROWS ? left : HT_SPARSE_ROWS;
        for (int32_t tap = 0; tap < taps; tap += HT_SPARSE_TAPS) {
            for (int32_t row = 0; row < lanes; row++) {
                if (!check_row(bytes, size, taps - tap, &at)) {
                    return 0;
                }
            }
        }
    }
    return at == size;
}

/* Check outputs first..first + n, their sums among them. */
static int check_outputs(const uint8_t *bytes, uint32_t size, int32_t first, int32_t n,
                         int32_t taps, uint32_t *at) {
    uint32_t sums[HT_SPARSE_OUTPUTS] = {0};
    for (int32_t tap = 0; tap < taps; tap++) {
        const uint32_t begin = *at + 1;
        if (!check_row(bytes, size, n, at)) {
            return 0;
        }
        for (const uint8_t *entry = bytes + begin; entry < bytes + *at; entry += 2) {
            const int32_t value = (int8_t)entry[1];
            sums[entry[0]] = sums[entry[0]] + (uint32_t)value;
        }
    }
    const uint8_t *stored = bytes + HT_COLUMNS_HEAD + 4 * (uint32_t)first;
    for (int32_t k = 0; k < n; k++) {
        if (load32_le(stored + 4 * k) != sums[k]) {
            return 0;
        }
    }
    return 1;
}

int ht_sparse_columns_check(const uint8_t *bytes, uint32_t size, int32_t rows, int32_t taps) {
    if (size < HT_COLUMNS_HEAD || (size - HT_COLUMNS_HEAD) / 4 < (uint32_t)rows ||
        !all_zero(bytes + 1, HT_COLUMNS_HEAD - 1)) {
        return 0;
    }
    uint32_t at = HT_COLUMNS_HEAD + 4 * (uint32_t)rows;
    for (int32_t first = 0; first < rows; first += HT_SPARSE_OUTPUTS) {
        const int32_t left = rows - first;
        const int32_t n = left < HT_SPARSE_OUTPUTS ? left : HT_SPARSE_OUTPUTS;
        if (!check_outputs(bytes, size, first, n, taps, &at)) {
            return 0;
        }
    }
    return at == size;
}

uint32_t ht_sparse_peak(const uint8_t *bytes, int32_t rows, int32_t taps) {
    uint32_t peak = 0;
    for (int32_t first = 0; first < rows; first += HT_SPARSE_ROWS) {
        const int32_t left = rows - first;
        const int32_t lanes = left < HT_SPARSE_ROWS ? left : HT_SPARSE_ROWS;
        uint32_t sums[HT_SPARSE_ROWS] = {0};
        for (int32_t tap = 0; tap < taps; tap += HT_SPARSE_TAPS) {
            for (int32_t row = 0; row < lanes; row++) {
                const uint8_t *end = bytes + 1 + 2 * bytes[0];
                for (bytes++; bytes < end; bytes += 2) {
                    const int32_t value = (int8_t)bytes[1];
                    sums[row] += (uint32_t)(value < 0 ? -value : value);
                    peak = sums[row] > peak ? sums[row] : peak;
                }
            }
        }
    }
    return peak;
}

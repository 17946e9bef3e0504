/* The coding `sparse`: weights used where they lie (SPEC section 1.7).
 *
 * Rows in sets of HT_SPARSE_ROWS, their taps in blocks of HT_SPARSE_TAPS. For each set, each block
 * of it, each row: the number of entries, then the entries, index in the block and value. So one
 * pass over the bytes serves as many windows, and no more of them, as a kernel holds. */
#ifndef HARDTACK_HT_SPARSE_H
#define HARDTACK_HT_SPARSE_H

#include <stdint.h>

#define HT_SPARSE_ROWS 32
#define HT_SPARSE_TAPS 256

/* Is this such a tensor of rows * taps codes? All of its bytes are looked at: indices are inside
 * their blocks and ascend, no value is 0, and the last entry ends at `size`. */
int ht_sparse_check(const uint8_t *bytes, uint32_t size, int32_t rows, int32_t taps);

/* The coding `sparse-columns`: by inputs, so that those of code `skipped` are passed over. First
 * that code, three zeros, and the sum of each row; then, outputs in blocks of HT_SPARSE_OUTPUTS,
 * for each block, each input: the number of entries, then the entries, index in the block and
 * value. */
#define HT_SPARSE_OUTPUTS 256
#define HT_COLUMNS_HEAD 4u

/* The same of such a tensor; sums are those of their rows. */
int ht_sparse_columns_check(const uint8_t *bytes, uint32_t size, int32_t rows, int32_t taps);

/* The largest sum of magnitudes of a row, of what has been checked. */
uint32_t ht_sparse_peak(const uint8_t *bytes, int32_t rows, int32_t taps);

#endif

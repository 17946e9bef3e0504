#include "../ht_load.h"
#include "../ht_sparse.h"
#include "../ht_vector.h"
#include "hardtack/ht_kernels.h"

/* acc += x * the column whose entries begin here; returns their end. Sums on the way may wrap. */
HT_HOT static const uint8_t *add_column(const uint8_t *entry, uint32_t x, uint32_t *acc) {
    const uint8_t *end = entry + 1 + 2 * entry[0];
    for (entry++; entry < end; entry += 2) {
        const int32_t value = (int8_t)entry[1];
        acc[entry[0]] = acc[entry[0]] + x * (uint32_t)value;
    }
    return end;
}

/* bias + skipped * sum(w) + sum((in - skipped) * w): inputs of that code add nothing. */
HT_MULTIARCH
void ht_fully_connected_columns_s8(const int8_t *in, ht_dims in_dims, const int8_t *weights,
                                   int32_t group_c, const int32_t *bias, const ht_window *window,
                                   int32_t in_zero, const ht_output_stage *stage, int8_t *out,
                                   ht_dims out_dims) {
    (void)group_c;
    (void)window;
    (void)in_zero;
    const uint8_t *sums = (const uint8_t *)weights + HT_COLUMNS_HEAD;
    const int32_t skipped = weights[0];
    for (int32_t row = 0; row < in_dims.w; row++, in += in_dims.c, out += out_dims.c) {
        const uint8_t *entry = sums + 4 * out_dims.c;
        for (int32_t first = 0; first < out_dims.c; first += HT_SPARSE_OUTPUTS) {
            const int32_t left = out_dims.c - first;
            const int32_t n = left < HT_SPARSE_OUTPUTS ? left : HT_SPARSE_OUTPUTS;
            uint32_t acc[HT_SPARSE_OUTPUTS];
            for (int32_t k = 0; k < n; k++) {
                acc[k] = (uint32_t)bias[first + k] +
                         (uint32_t)skipped * load32_le(sums + 4 * (first + k));
            }
            for (int32_t i = 0; i < in_dims.c; i++) {
                const int32_t x = in[i] - skipped;
                entry = x != 0 ? add_column(entry, (uint32_t)x, acc) : entry + 1 + 2 * entry[0];
            }
            ht_finish_s8(stage, (const int32_t *)acc, first, n, out + first);
        }
    }
}

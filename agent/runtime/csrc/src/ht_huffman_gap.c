/* gap-huff: values, and the gaps between them, or between zeros (SPEC section 1.7). */
#include "ht_gap.h"
#include "ht_load.h"

#if defined(HT_WIDE_WINDOW)

int ht_look_ahead(const ht_decoder *gaps, ht_gap_table *table) {
    const unsigned bits = gaps->lut_bits;
    if (bits != HT_LUT_BITS) {
        return 0;
    }
    for (unsigned i = 0; i < 1u << bits;) {
        const unsigned length = gaps->lut[i] & 255u;
        const unsigned symbol = gaps->lut[i] >> 8;
        if (length == 0 || symbol > HT_MAX_GAP_SYMBOL) {
            return 0;
        }
        const unsigned extra = symbol < 4 ? 0 : symbol / 2 - 1;
        const uint32_t top = symbol < 4 ? symbol : 2 + symbol % 2;
        const unsigned span = 1u << (bits - length);
        table->bias[symbol] = ((top - (i >> (bits - length))) << extra) + 1;
        for (unsigned k = 0; k < span; k++) {
            table->codes[i + k] = (ht_lut_entry)(gaps->lut[i] + extra);
        }
        i += span;
    }
    return 1;
}

#endif

ht_status ht_huffman_decode_gap(const ht_decoder *values, const ht_decoder *gaps, const uint8_t *in,
                                size_t size, int8_t *out, size_t count) {
    if (values == NULL || gaps == NULL || in == NULL || out == NULL) {
        return HT_ERR_ARGUMENT;
    }
    const uint32_t nonzeros = size < 4 ? UINT32_MAX : load32_le(in);
    if (nonzeros > count) {
        return HT_ERR_CODE_STREAM;
    }
    const ht_gap_tensor tensor = {values, gaps, nonzeros, in + 4, size - 4, out, count};
    return nonzeros <= count / 2 ? ht_decode_between_values(&tensor)
                                 : ht_decode_between_zeros(&tensor);
}

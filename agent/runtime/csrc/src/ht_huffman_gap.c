/* gap-huff: values, and the gaps between them, or between zeros (SPEC section 1.7). */
#include "ht_gap.h"
#include "ht_load.h"

#if defined(HT_WIDE_WINDOW)

void ht_look_ahead(const ht_decoder *gaps, ht_gap_table *table) {
    for (unsigned i = 0; i < 1u << HT_LUT_BITS;) {
        const unsigned length = gaps->lut[i] & 255u;
        const unsigned symbol = gaps->lut[i] >> 8;
        const unsigned extra = symbol < 4 ? 0 : symbol / 2 - 1;
        const uint32_t top = symbol < 4 ? symbol : 2 + symbol % 2;
        const unsigned span = 1u << (HT_LUT_BITS - length);
        table->bias[symbol] = ((top - (i >> (HT_LUT_BITS - length))) << extra) + 1;
        for (unsigned k = 0; k < span; k++) {
            table->codes[i + k] = (ht_lut_entry)(gaps->lut[i] + extra);
        }
        i += span;
    }
}

#endif

ht_status ht_huffman_decode_gap(const ht_gap_decoders *decoders, const uint8_t *in, size_t size,
                                int8_t *out, size_t count) {
    if (decoders == NULL || in == NULL || out == NULL) {
        return HT_ERR_ARGUMENT;
    }
    if (size < 4 || load32_le(in) > count) {
        return HT_ERR_CODE_STREAM;
    }
    const ht_gap_tensor tensor = {decoders, load32_le(in), in + 4, size - 4, out, count};
    return tensor.nonzeros <= count / 2 ? ht_decode_between_values(&tensor)
                                        : ht_decode_between_zeros(&tensor);
}

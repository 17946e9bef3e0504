/* Code tables: checked, and made into decoders. */
#include <string.h>

#include "ht_lut.h"

static unsigned length_of(const uint8_t *lengths, unsigned index) {
    return ((unsigned)lengths[index / 2] >> (index % 2 * 4)) & 15u;
}

static ht_status count_lengths(const uint8_t *table, size_t size, uint16_t *count) {
    if (size < 3 || table[1] < table[0]) {
        return HT_ERR_CODE_TABLE;
    }
    const unsigned symbols = (unsigned)(table[1] - table[0]) + 1;
    if (size != 2 + (symbols + 1) / 2) {
        return HT_ERR_CODE_TABLE;
    }
    const uint8_t *lengths = table + 2;
    memset(count, 0, (HT_MAX_CODE_LENGTH + 1) * sizeof *count);
    for (unsigned i = 0; i < symbols; i++) {
        const unsigned length = length_of(lengths, i);
        if (length > HT_MAX_CODE_LENGTH) {
            return HT_ERR_CODE_TABLE;
        }
        count[length]++;
    }
    const int ends_used = length_of(lengths, 0) != 0 && length_of(lengths, symbols - 1) != 0;
    const int padded = symbols % 2 == 0 || length_of(lengths, symbols) == 0;
    return ends_used && padded ? HT_OK : HT_ERR_CODE_TABLE;
}

/* Kraft's sum in units of 2^-12: 4096 for a complete code. A single symbol has half of it. */
static unsigned kraft_sum(const uint16_t *count) {
    unsigned sum = 0;
    for (unsigned length = 1; length <= HT_MAX_CODE_LENGTH; length++) {
        sum += (unsigned)count[length] << (HT_MAX_CODE_LENGTH - length);
    }
    return sum;
}

ht_status ht_huffman_check(const uint8_t *table, size_t size) {
    uint16_t count[HT_MAX_CODE_LENGTH + 1];
    if (table == NULL) {
        return HT_ERR_ARGUMENT;
    }
    const ht_status status = count_lengths(table, size, count);
    if (status != HT_OK) {
        return status;
    }
    const int single = table[0] == table[1] && count[1] == 1;
    return single || kraft_sum(count) == 4096 ? HT_OK : HT_ERR_CODE_TABLE;
}

/* Put a second code behind the first where it fits the look-up, too. */
static void pair_codes(ht_lut_entry *lut, unsigned bits) {
#if HT_LUT_BITS < HT_MAX_CODE_LENGTH
    for (unsigned i = 0; i < 1u << bits; i++) {
        const ht_lut_entry one = lut[i];
        const unsigned length = one >> 24 & 15u;
        const ht_lut_entry other = lut[(i << length) & ((1u << bits) - 1)];
        const unsigned second = other >> 24 & 15u;
        if (length != 0 && second != 0 && length + second <= bits) {
            lut[i] += 1u << 30 | second << 16 | (other & 0xFFu) << 8;
        }
    }
#else
    (void)lut;
    (void)bits;
#endif
}

/* Where a look-up shows the beginning of codes of one length only, say where their symbols are. */
static void point_to_long_codes(const ht_decoder *decoder, ht_lut_entry *lut) {
#if HT_LUT_BITS < HT_MAX_CODE_LENGTH
    const unsigned bits = decoder->lut_bits;
    unsigned symbols = 0; /* before those of this length */
    for (unsigned length = bits + 1; length <= HT_MAX_CODE_LENGTH; length++) {
        const unsigned rest = length - bits;
        const unsigned first = decoder->first_code[length];
        const unsigned end = first + decoder->count[length];
        for (unsigned i = (first + (1u << rest) - 1) >> rest; (i + 1) << rest <= end; i++) {
            lut[i] = (32 - rest) << 8 | (symbols + (i << rest) - first);
        }
        symbols += decoder->count[length];
    }
#else
    (void)decoder;
    (void)lut;
#endif
}

/* List the symbols of longer codes, in the order of their codes. */
static void list_long_symbols(ht_decoder *decoder) {
    const unsigned symbols = (unsigned)(decoder->last - decoder->first) + 1;
    uint8_t *next[HT_MAX_CODE_LENGTH + 1];
    uint8_t *to = decoder->long_symbols;
    for (unsigned length = decoder->lut_bits + 1u; length <= HT_MAX_CODE_LENGTH; length++) {
        next[length] = to;
        to += decoder->count[length];
    }
    for (unsigned i = 0; i < symbols; i++) {
        const unsigned length = length_of(decoder->lengths, i);
        if (length > decoder->lut_bits) {
            *next[length]++ = (uint8_t)((decoder->first + i) ^ decoder->flip);
        }
    }
}

static void fill_lut(const ht_decoder *decoder, ht_lut_entry *lut) {
    const unsigned bits = decoder->lut_bits;
    uint16_t next_code[HT_MAX_CODE_LENGTH + 1];
    memcpy(next_code, decoder->first_code, sizeof next_code);
    memset(lut, 0, sizeof *lut << bits);
    const unsigned symbols = (unsigned)(decoder->last - decoder->first) + 1;
    for (unsigned i = 0; i < symbols; i++) {
        const unsigned length = length_of(decoder->lengths, i);
        if (length == 0 || length > bits) {
            continue;
        }
        const unsigned symbol = (decoder->first + i) ^ decoder->flip;
        const unsigned span = 1u << (bits - length);
        ht_lut_entry *slot = lut + next_code[length] * span;
        for (unsigned k = 0; k < span; k++) {
            slot[k] = ENTRY(symbol, length);
        }
        next_code[length]++;
    }
    pair_codes(lut, bits);
    point_to_long_codes(decoder, lut);
}

/* `lut`, `lut_bits` and `long_symbols` are set.
 *
 * flip  0x80 makes int8 codes of symbols that are code + 128; 0 keeps symbols */
static ht_status build(const uint8_t *table, size_t size, uint8_t flip, ht_decoder *decoder) {
    const ht_status status = ht_huffman_check(table, size);
    if (status != HT_OK) {
        return status;
    }
    (void)count_lengths(table, size, decoder->count);
    decoder->first = table[0];
    decoder->last = table[1];
    decoder->lengths = table + 2;
    decoder->flip = flip;
    decoder->complete = table[0] != table[1];
    unsigned code = 0;
    decoder->count[0] = 0;
    for (unsigned length = 1; length <= HT_MAX_CODE_LENGTH; length++) {
        code = (code + decoder->count[length - 1]) << 1;
        decoder->first_code[length] = (uint16_t)code;
    }
    fill_lut(decoder, decoder->lut);
    list_long_symbols(decoder);
    return HT_OK;
}

ht_status ht_huffman_build(const uint8_t *table, size_t size, ht_full_decoder *decoder) {
    decoder->decoder.lut = decoder->lut;
    decoder->decoder.lut_bits = HT_LUT_BITS;
    decoder->decoder.long_symbols = decoder->long_symbols;
    return build(table, size, 0x80, &decoder->decoder);
}

/* Has a table, which need not be one, a code for this symbol? */
static int has_symbol(const uint8_t *table, size_t size, unsigned symbol) {
    return size > 2 && symbol >= table[0] && symbol <= table[1] &&
           2 + (symbol - table[0]) / 2 < size && length_of(table + 2, symbol - table[0]) != 0;
}

ht_status ht_huffman_build_gap(const uint8_t *values, size_t values_size, const uint8_t *gaps,
                               size_t gaps_size, ht_gap_decoders *decoders) {
    if (has_symbol(values, values_size, 0x80) || gaps_size < 2 || gaps[1] >= HT_GAP_SYMBOLS) {
        return HT_ERR_CODE_TABLE;
    }
    decoders->values.lut = decoders->lut[0];
    decoders->values.lut_bits = HT_GAP_LUT_BITS;
    decoders->values.long_symbols = decoders->long_values;
    decoders->gaps.lut = decoders->lut[1];
    decoders->gaps.lut_bits = HT_GAP_LUT_BITS;
    decoders->gaps.long_symbols = decoders->long_gaps;
    const ht_status status = build(values, values_size, 0x80, &decoders->values);
    return status == HT_OK ? build(gaps, gaps_size, 0, &decoders->gaps) : status;
}

size_t ht_decoder_size(void) {
    return sizeof(ht_full_decoder);
}

size_t ht_gap_decoders_size(void) {
    return sizeof(ht_gap_decoders);
}

#include "ht_bit_reader.h"

static void refill(ht_bit_reader *reader) {
    while (reader->available <= 24 && reader->next < reader->end) {
        reader->window |= (uint32_t)*reader->next++ << (24 - reader->available);
        reader->available += 8;
    }
}

ht_bit_reader ht_open_stream(const uint8_t *bytes, size_t size, unsigned offset) {
    ht_bit_reader reader = {bytes, bytes + size, 0, 0};
    refill(&reader);
    ht_skip_bits(&reader, offset);
    return reader;
}

void ht_skip_bits(ht_bit_reader *reader, unsigned bits) {
    reader->window <<= bits;
    reader->available -= (int)bits;
    refill(reader);
}

/* The code that a window begins with, as symbol << 8 | length, or 0 for none. */
static unsigned code_at(const ht_decoder *decoder, uint32_t window) {
    const unsigned bits = decoder->lut_bits;
    const ht_lut_entry entry = decoder->lut[window >> (32 - bits)];
    if (!IS_LONG(entry)) {
        return FIRST_OF(entry);
    }
#if HT_LUT_BITS < HT_MAX_CODE_LENGTH
    const unsigned right = entry >> 8;
    if (right != 0) {
        const uint32_t rest = window << bits >> right;
        return (unsigned)decoder->long_symbols[rest + (entry & 0xFFu)] << 8 | (32 + bits - right);
    }
#endif
    return ht_long_code(decoder, window >> (32 - HT_MAX_CODE_LENGTH));
}

unsigned ht_next_symbol(ht_bit_reader *reader, const ht_decoder *decoder) {
    const unsigned code = code_at(decoder, reader->window);
    const unsigned length = code & 0xFF;
    if (length == 0 || (int)length > reader->available) {
        return 0;
    }
    ht_skip_bits(reader, length);
    return code;
}

ht_status ht_close_stream(const ht_bit_reader *reader) {
    const int finished = reader->next == reader->end && reader->available < 8;
    return finished && reader->window == 0 ? HT_OK : HT_ERR_CODE_STREAM;
}

unsigned ht_long_code(const ht_decoder *decoder, unsigned window) {
    const uint8_t *symbols = decoder->long_symbols;
    for (unsigned length = decoder->lut_bits + 1u; length <= HT_MAX_CODE_LENGTH; length++) {
        const unsigned code = window >> (HT_MAX_CODE_LENGTH - length);
        const unsigned rank = code - decoder->first_code[length];
        if (code >= decoder->first_code[length] && rank < decoder->count[length]) {
            return (unsigned)symbols[rank] << 8 | length;
        }
        symbols += decoder->count[length];
    }
    return 0;
}

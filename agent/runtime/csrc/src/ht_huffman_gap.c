/* gap-huff: the zeros before each value, and the value (SPEC section 1.7). */
#include "ht_bit_reader.h"
#include "ht_load.h"

#define MAX_GAP_SYMBOL 55 /* gaps below 2^28, as tensors are */

/* Read one gap: the number of zeros before the next value. */
static ht_status next_gap(ht_bit_reader *reader, const ht_decoder *gaps, size_t *gap) {
    const unsigned entry = ht_next_symbol(reader, gaps);
    const unsigned symbol = entry >> 8;
    if (entry == 0 || symbol > MAX_GAP_SYMBOL) {
        return HT_ERR_CODE_STREAM;
    }
    if (symbol < 4) {
        *gap = symbol;
        return HT_OK;
    }
    const unsigned extra = symbol / 2 - 1;
    size_t value = 2 + symbol % 2;
    for (unsigned left = extra; left > 0;) {
        const unsigned bits = left < 16 ? left : 16;
        if ((int)bits > reader->available) {
            return HT_ERR_CODE_STREAM;
        }
        value = value << bits | reader->window >> (32 - bits);
        ht_skip_bits(reader, bits);
        left -= bits;
    }
    *gap = value;
    return HT_OK;
}

/* How far a tensor is decoded. */
typedef struct progress {
    const uint8_t *next; /* byte that holds the next bit */
    const uint8_t *end;
    unsigned offset; /* bits of *next already used, 0..7 */
    uint32_t left;   /* non-zero elements still to decode */
    size_t at;       /* the element behind the last one */
} progress;

#if defined(HT_WIDE_WINDOW)

#define GAP_SYMBOLS 56
#define HT_AHEAD_FROM 1024 /* bytes; below, the table takes longer than it saves */
static const uint8_t extra_bits[GAP_SYMBOLS] = {
    0,  0,  0,  0,  1,  1,  2,  2,  3,  3,  4,  4,  5,  5,  6,  6,  7,  7,  8,
    8,  9,  9,  10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15, 16, 16, 17, 17,
    18, 18, 19, 19, 20, 20, 21, 21, 22, 22, 23, 23, 24, 24, 25, 25, 26, 26};

/* A look-up table whose lengths count the extra bits, too: the chain from value to value then
 * waits for two loads and not for three. */
static void add_extra_bits(const ht_decoder *gaps, ht_lut_entry *lut) {
    for (unsigned i = 0; i < 1u << gaps->lut_bits; i++) {
        const unsigned symbol = gaps->lut[i] >> 8;
        const unsigned extra = symbol < GAP_SYMBOLS ? extra_bits[symbol] : 0;
        lut[i] = (ht_lut_entry)(symbol < GAP_SYMBOLS ? gaps->lut[i] + extra : 0);
    }
}

/* The gap of a symbol whose extra bits end where the window ends; no branch could be foreseen. */
HT_INLINE size_t gap_of(unsigned symbol, uint64_t window) {
    const unsigned extra = extra_bits[symbol];
    const size_t first = ((size_t)(2 + symbol % 2) << extra) - 2 * (size_t)(symbol < 2);
    return first + (size_t)(window & (((uint64_t)1 << extra) - 1));
}

/* Decode while 8 bytes lie ahead; stops before what it cannot decode. A gap, its extra bits and a
 * value take 12 + 26 + 12 of the 56 bits that a reload guarantees; for its arithmetic see
 * ht_huffman_dense.c. */
HT_MULTIARCH
static void decode_ahead(const ht_decoder *values, const ht_decoder *gaps, progress *done,
                         int8_t *out, size_t count) {
    const unsigned value_shift = 64u - values->lut_bits;
    const unsigned gap_shift = 64u - gaps->lut_bits;
    const ht_lut_entry *value_lut = values->lut;
    ht_lut_entry gap_lut[1u << HT_LUT_BITS];
    add_extra_bits(gaps, gap_lut);
    const uint8_t *next = done->next + 8;
    const uint8_t *end = done->end;
    uint64_t window = ht_load64_be(done->next);
    unsigned held = 64;
    size_t at = done->at;
    uint32_t left = done->left;
    while (left > 0 && end - next >= 8) {
        const unsigned code = gap_lut[window >> gap_shift];
        const uint64_t ahead = window << (code & 63);
        const unsigned before = held - code;
        const unsigned value = value_lut[ahead >> value_shift];
        const size_t gap = gap_of(code >> 8, window >> 1 >> (63 - (code & 63)));
        if (code == 0 || value < 256 || gap >= count - at) { /* no code of a table, or a zero */
            break;
        }
        at += gap;
        out[at++] = (int8_t)(uint8_t)(value >> 8);
        window = ahead << (value & 63);
        held = before - value; /* the symbols change bits above the 6 that count */
        window |= ht_load64_be(next) >> (held & 63);
        next += (63 - (held & 63)) >> 3;
        held = (held & 63) | 56;
        left--;
    }
    done->next = next - (held + 7) / 8;
    done->offset = (8 - held % 8) % 8;
    done->left = left;
    done->at = at;
}

#endif

ht_status ht_huffman_decode_gap(const ht_decoder *values, const ht_decoder *gaps, const uint8_t *in,
                                size_t size, int8_t *out, size_t count) {
    if (values == NULL || gaps == NULL || in == NULL || out == NULL) {
        return HT_ERR_ARGUMENT;
    }
    if (size < 4) {
        return HT_ERR_CODE_STREAM;
    }
    progress done = {in + 4, in + size, 0, load32_le(in), 0};
    memset(out, 0, count);
#if defined(HT_WIDE_WINDOW)
    if (size >= HT_AHEAD_FROM) {
        decode_ahead(values, gaps, &done, out, count);
    }
#endif
    ht_bit_reader reader = ht_open_stream(done.next, (size_t)(done.end - done.next), done.offset);
    size_t at = done.at;
    for (; done.left > 0; done.left--) {
        size_t gap = 0;
        if (next_gap(&reader, gaps, &gap) != HT_OK || gap >= count - at) {
            return HT_ERR_CODE_STREAM;
        }
        const unsigned entry = ht_next_symbol(&reader, values);
        const int8_t value = (int8_t)(uint8_t)(entry >> 8);
        if (entry == 0 || value == 0) {
            return HT_ERR_CODE_STREAM;
        }
        at += gap;
        out[at++] = value;
    }
    return ht_close_stream(&reader);
}

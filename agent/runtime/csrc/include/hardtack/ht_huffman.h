/* Canonical Huffman decoding, code lengths up to 12 (SPEC sections 1.6 and 1.7).
 *
 * A decoder is a look-up table of HT_LUT_BITS bits plus the code table of the bundle, which stays
 * where it is: codes longer than the look-up are found from their length's first code and a list of
 * symbols. With 12 bits (8 KB) there are none. 7 bits, an entry of which holds up to two symbols
 * (512 bytes), suit a microcontroller. */
#ifndef HARDTACK_HT_HUFFMAN_H
#define HARDTACK_HT_HUFFMAN_H

#include <stddef.h>
#include <stdint.h>

#include "hardtack/ht_status.h"

#define HT_MAX_CODE_LENGTH 12
/* Elements, or values of gap-huff; below, there is one stream. */
#define HT_FOUR_STREAMS_FROM 4096

#ifndef HT_LUT_BITS
#if UINTPTR_MAX > 0xFFFFFFFFu
#define HT_LUT_BITS 12
#else
#define HT_LUT_BITS 7
#endif
#endif

#if HT_LUT_BITS == HT_MAX_CODE_LENGTH
/* symbol << 8 | length; 0: no code begins so */
typedef uint16_t ht_lut_entry;
#else
/* From the lowest bit: symbol and second symbol, 8 bits each; bits of all codes, 8; length of the
 * first code, 6; codes (1 or 2), 2. A longer code has zeros in the upper half, and where all that
 * begin so are of one length: 8 bits index of their first symbol in long_symbols, 8 bits 32 minus
 * the bits that follow; else 0, as where no code begins so. */
typedef uint32_t ht_lut_entry;
#endif
HT_STATIC_ASSERT(three_look_ups_fit_a_window, HT_LUT_BITS <= 8 || HT_LUT_BITS == 12);

typedef struct ht_decoder {
    ht_lut_entry *lut;                           /* 2^lut_bits of them */
    uint8_t *long_symbols;                       /* of codes longer than that, code by code */
    const uint8_t *lengths;                      /* two a byte, of symbols first..last */
    uint16_t first_code[HT_MAX_CODE_LENGTH + 1]; /* by length */
    uint16_t count[HT_MAX_CODE_LENGTH + 1];      /* symbols by length */
    uint8_t first;                               /* smallest symbol */
    uint8_t last;                                /* largest symbol */
    uint8_t flip;                                /* what symbols are XORed with on the way out */
    uint8_t complete;                            /* 0: the code of a single symbol */
    uint8_t lut_bits;                            /* 1..HT_LUT_BITS */
} ht_decoder;

/* A decoder of int8 codes, and what it points to; its address is the decoder's. */
typedef struct ht_full_decoder {
    ht_decoder decoder;
    ht_lut_entry lut[1u << HT_LUT_BITS];
    uint8_t long_symbols[256];
} ht_full_decoder;

#define HT_GAP_SYMBOLS 56 /* of gaps below 2^28, as tensors are */
#if HT_LUT_BITS < HT_MAX_CODE_LENGTH
#define HT_GAP_LUT_BITS (HT_LUT_BITS - 1) /* where memory counts, two look-ups take that of one */
#else
#define HT_GAP_LUT_BITS HT_LUT_BITS
#endif

/* The decoders of gap-huff. */
typedef struct ht_gap_decoders {
    ht_decoder values;
    ht_decoder gaps;
    ht_lut_entry lut[2][1u << HT_GAP_LUT_BITS];
    uint8_t long_values[255]; /* all but 0 */
    uint8_t long_gaps[HT_GAP_SYMBOLS];
} ht_gap_decoders;
HT_STATIC_ASSERT(gap_decoders_take_a_kibibyte,
                 HT_LUT_BITS > 7 || sizeof(void *) > 4 || sizeof(ht_gap_decoders) <= 1024);

/* Check a code table: range, lengths, Kraft's equality, padding.
 *
 * table  u8 first, u8 last, lengths of 4 bits; size bytes in all */
HT_API ht_status ht_huffman_check(const uint8_t *table, size_t size);

/* Build a decoder of int8 codes; `table` must outlive it. */
HT_API ht_status ht_huffman_build(const uint8_t *table, size_t size, ht_full_decoder *decoder);

/* Build the decoders of gap-huff; both tables must outlive them.
 *
 * HT_ERR_CODE_TABLE, too, if values have a code for 0, or gaps one for a symbol that is none. */
HT_API ht_status ht_huffman_build_gap(const uint8_t *values, size_t values_size,
                                      const uint8_t *gaps, size_t gaps_size,
                                      ht_gap_decoders *decoders);

/* Bytes of an ht_full_decoder and of ht_gap_decoders, for callers that cannot see the structs. */
HT_API size_t ht_decoder_size(void);
HT_API size_t ht_gap_decoders_size(void);

/* Decode dense-huff: `count` elements, one stream or four.
 *
 * HT_ERR_CODE_STREAM if the bytes are not exactly what an encoder writes: the streams must end
 * within their last byte and their padding be zero. */
HT_API ht_status ht_huffman_decode_dense(const ht_decoder *values, const uint8_t *in, size_t size,
                                         int8_t *out, size_t count);

/* Decode gap-huff: values, and gaps between them or between zeros. Errors are those of dense-huff;
 * `out` may then hold anything. */
HT_API ht_status ht_huffman_decode_gap(const ht_gap_decoders *decoders, const uint8_t *in,
                                       size_t size, int8_t *out, size_t count);

#endif

/* Entries of the look-up table of Huffman codes, as ht_huffman.h describes them. */
#ifndef HT_LUT_H
#define HT_LUT_H

#include "hardtack/ht_huffman.h"

#if HT_LUT_BITS == HT_MAX_CODE_LENGTH
#define ENTRY(symbol, length) (ht_lut_entry)((symbol) << 8 | (length))
#define IS_LONG(entry) ((entry) == 0)
#define FIRST_OF(entry) (entry)
#else
#define ENTRY(symbol, length) (1u << 30 | (length) << 24 | (length) << 16 | (symbol))
#define IS_LONG(entry) ((entry) >> 16 == 0)
/* The first code of an entry that is not of a long one, as symbol << 8 | length. */
#define FIRST_OF(entry) (((entry) & 0xFFu) << 8 | ((entry) >> 24 & 15u))
#endif

#endif

/* The bundle reader: finds everything in place, allocates nothing, trusts no byte.
 *
 * It checks structure (SPEC sections 1.1 to 1.6), not trust: signature and digest are checked
 * before by whoever received the bundle. The bytes must stay where they are as long as the
 * ht_bundle is used. */
#ifndef HARDTACK_HT_BUNDLE_H
#define HARDTACK_HT_BUNDLE_H

#include <stddef.h>
#include <stdint.h>

#include "hardtack/ht_status.h"

#define HT_FORMAT_VERSION 1
#define HT_KERNEL_ABI 1
#define HT_HEADER_SIZE 224 /* the signature included */

typedef enum ht_section {
    HT_META,
    HT_PROG,
    HT_TENS,
    HT_HUFF,
    HT_DATA,
    HT_GOLD,
    HT_SECTIONS
} ht_section;

typedef enum ht_dtype { HT_INT8 = 1, HT_INT32 = 2, HT_INT16 = 3 } ht_dtype;
typedef enum ht_place { HT_ARENA = 0, HT_CONSTANT = 1 } ht_place;
typedef enum ht_coding {
    HT_UNSTORED = 0, /* in the arena */
    HT_RAW = 1,
    HT_DENSE_HUFF = 2,
    HT_GAP_HUFF = 3,
    HT_MASKED_HUFF = 4,
    HT_NARROW = 5,
    HT_CTX = 6,
    HT_FOLDED = 7,
    HT_SPARSE = 8,
    HT_PACKED = 9,
    HT_SPARSE_COLUMNS = 10,
    HT_IN_PLACE_END = 11, /* those from HT_SPARSE on are used where they lie */
    HT_MANTISSA = 11
} ht_coding;

typedef struct ht_span {
    const uint8_t *bytes;
    uint32_t size;
} ht_span;

typedef struct ht_bundle {
    const uint8_t *bytes;   /* the file, at a multiple of 4 */
    uint32_t total_size;    /* bytes of the file */
    uint32_t arena_size;    /* bytes of working memory for activations, a multiple of 16 */
    uint32_t unpacked_size; /* bytes of memory for coded tensors, a multiple of 16 */
    uint32_t tensor_count;
    ht_span section[HT_SECTIONS];
} ht_bundle;

/* An entry of the tensor table. */
typedef struct ht_tensor {
    uint8_t dtype;        /* ht_dtype */
    uint8_t place;        /* ht_place */
    uint8_t coding;       /* ht_coding */
    uint8_t table;        /* Huffman table of the values, if coded */
    uint8_t gap_table;    /* Huffman table of the gaps, if gap-huff */
    int32_t dims[4];      /* N H W C, each >= 1 */
    int32_t elements;     /* product of dims, < 2^28 */
    uint32_t offset;      /* bytes, in the arena or of the stored bytes in DATA */
    uint32_t stored_size; /* bytes in DATA, without the length in front of coded ones */
} ht_tensor;

/* Read and check the header, the section table, TENS and HUFF.
 *
 * size    bytes at hand; may exceed total_size (a flash slot) but not fall short of it
 * bundle  filled in on HT_OK, undefined otherwise */
HT_API ht_status ht_bundle_open(const void *bytes, size_t size, ht_bundle *bundle);

/* Read entry `index` of TENS; the bundle is open, so only the index can be wrong. */
HT_API ht_status ht_bundle_tensor(const ht_bundle *bundle, uint32_t index, ht_tensor *tensor);

/* Find table `index` of HUFF: its `first`, `last` and lengths, as ht_huffman_build reads them. */
HT_API ht_status ht_bundle_code_table(const ht_bundle *bundle, uint32_t index, ht_span *table);

/* Does it need unpacking? */
int ht_is_coded(const ht_tensor *tensor);

/* Is it coded, and used where it lies? Only weights of conv_2d and fully_connected are. */
int ht_is_in_place(const ht_tensor *tensor);

/* The tensor as rows: output channels, or what would be them. */
int32_t ht_tensor_rows(const ht_tensor *tensor);

/* Bytes of all elements. */
uint32_t ht_tensor_bytes(const ht_tensor *tensor);

/* Bytes that a coded tensor takes in the unpack memory, a multiple of 16. */
uint32_t ht_unpacked_bytes(const ht_tensor *tensor);

#endif

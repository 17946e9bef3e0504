/* What fuzzers and the hostile-bytes test do with bytes: everything a device would. */
#ifndef HARDTACK_FUZZ_EXERCISE_H
#define HARDTACK_FUZZ_EXERCISE_H

#include <stddef.h>
#include <stdint.h>

#include "hardtack/ht_status.h"

/* Open, unpack, replay and run a bundle. The bytes are copied into memory of exactly their size,
 * so that a sanitizer sees the first byte read behind them. */
ht_status exercise_bundle(const uint8_t *data, size_t size);

/* Build decoders of two code tables and decode a stream with them.
 *
 * data  u8 coding, u16 elements, u8 table size, table, u8 gap table size, gap table, stream */
ht_status exercise_huffman(const uint8_t *data, size_t size);

#endif

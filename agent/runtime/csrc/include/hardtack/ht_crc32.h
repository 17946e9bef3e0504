/* CRC-32 of IEEE 802.3 (polynomial 0xEDB88320 reflected), as zlib's crc32. */
#ifndef HARDTACK_HT_CRC32_H
#define HARDTACK_HT_CRC32_H

#include <stddef.h>
#include <stdint.h>

#include "hardtack/ht_status.h"

/* Continue a checksum over size more bytes; crc is 0 at the start. */
HT_API uint32_t ht_crc32(uint32_t crc, const void *data, size_t size);

#endif

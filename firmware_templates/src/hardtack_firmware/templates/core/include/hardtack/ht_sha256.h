/* SHA-256 (FIPS 180-4), streaming. */
#ifndef HARDTACK_HT_SHA256_H
#define HARDTACK_HT_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct ht_sha256 {
    uint32_t state[8];
    uint64_t size; /* bytes so far */
    uint8_t block[64];
} ht_sha256;

void ht_sha256_begin(ht_sha256 *hash);
void ht_sha256_add(ht_sha256 *hash, const uint8_t *bytes, size_t size);
void ht_sha256_end(ht_sha256 *hash, uint8_t digest[32]);

/* The three in one. */
void ht_sha256_of(const uint8_t *bytes, size_t size, uint8_t digest[32]);

#endif

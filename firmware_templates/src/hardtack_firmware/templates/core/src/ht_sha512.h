/* SHA-512 (FIPS 180-4) of up to three pieces, for Ed25519 alone. */
#ifndef HARDTACK_HT_SHA512_H
#define HARDTACK_HT_SHA512_H

#include <stddef.h>
#include <stdint.h>

typedef struct ht_sha512 {
    uint64_t state[8];
    uint64_t size; /* bytes so far */
    uint8_t block[128];
} ht_sha512;

void ht_sha512_begin(ht_sha512 *hash);
void ht_sha512_add(ht_sha512 *hash, const uint8_t *bytes, size_t size);
void ht_sha512_end(ht_sha512 *hash, uint8_t digest[64]);

#endif

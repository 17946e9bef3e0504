/* Ed25519 signatures (RFC 8032), by Monocypher's field arithmetic and SHA-512. */
#ifndef HARDTACK_HT_ED25519_H
#define HARDTACK_HT_ED25519_H

#include <stddef.h>
#include <stdint.h>

/* Is this the key's signature of the message? Takes about 2 KB of stack. */
int ht_ed25519_verifies(const uint8_t signature[64], const uint8_t public_key[32],
                        const uint8_t *message, size_t size);

#endif

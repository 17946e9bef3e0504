#include "hardtack/ht_ed25519.h"

#include "ht_sha512.h"

/* monocypher.h of Monocypher 4, fetched at build time; declared here so that nothing else of it is
 * seen. Its crypto_eddsa_check is another scheme (BLAKE2b): these two parts with SHA-512 between
 * them are RFC 8032. */
void crypto_eddsa_reduce(uint8_t reduced[32], const uint8_t expanded[64]);
int crypto_eddsa_check_equation(const uint8_t signature[64], const uint8_t public_key[32],
                                const uint8_t h_ram[32]);

/* SHA-512(R, key, message) modulo the group's order. A function of its own, so that its stack is
 * free again before the equation takes most of what there is. */
__attribute__((noinline)) static void hash_to_scalar(const uint8_t signature[64],
                                                     const uint8_t public_key[32],
                                                     const uint8_t *message, size_t size,
                                                     uint8_t reduced[32]) {
    uint8_t digest[64];
    ht_sha512 hash;
    ht_sha512_begin(&hash);
    ht_sha512_add(&hash, signature, 32);
    ht_sha512_add(&hash, public_key, 32);
    ht_sha512_add(&hash, message, size);
    ht_sha512_end(&hash, digest);
    crypto_eddsa_reduce(reduced, digest);
}

int ht_ed25519_verifies(const uint8_t signature[64], const uint8_t public_key[32],
                        const uint8_t *message, size_t size) {
    uint8_t reduced[32];
    hash_to_scalar(signature, public_key, message, size, reduced);
    return crypto_eddsa_check_equation(signature, public_key, reduced) == 0;
}

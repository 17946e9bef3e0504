#include "hardtack/ht_sha256.h"

#include <string.h>

static const uint32_t round_constant[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static const uint32_t initial_state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                          0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static uint32_t rotate(uint32_t x, int n) {
    return x >> n | x << (32 - n);
}

static uint32_t load32_be(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void store32_be(uint8_t *p, uint32_t x) {
    p[0] = (uint8_t)(x >> 24);
    p[1] = (uint8_t)(x >> 16);
    p[2] = (uint8_t)(x >> 8);
    p[3] = (uint8_t)x;
}

/* One block of 64 bytes; the message schedule is kept as a ring of 16 words. */
static void compress(uint32_t state[8], const uint8_t *block) {
    uint32_t w[16];
    uint32_t s[8];
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; i++) {
        if (i < 16) {
            w[i] = load32_be(block + 4 * i);
        } else {
            const uint32_t a = w[(i + 1) & 15];
            const uint32_t b = w[(i + 14) & 15];
            w[i & 15] += (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[(i + 9) & 15] +
                         (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
        }
        const uint32_t t1 = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) +
                            (s[6] ^ (s[4] & (s[5] ^ s[6]))) + round_constant[i] + w[i & 15];
        const uint32_t t2 = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) +
                            ((s[0] & s[1]) | (s[2] & (s[0] | s[1])));
        memmove(s + 1, s, 7 * sizeof s[0]);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) {
        state[i] += s[i];
    }
}

void ht_sha256_begin(ht_sha256 *hash) {
    memcpy(hash->state, initial_state, sizeof hash->state);
    hash->size = 0;
}

void ht_sha256_add(ht_sha256 *hash, const uint8_t *bytes, size_t size) {
    size_t held = (size_t)(hash->size % 64);
    hash->size += size;
    while (size > 0) {
        if (held == 0 && size >= 64) { /* whole blocks are hashed where they lie */
            compress(hash->state, bytes);
            bytes += 64;
            size -= 64;
            continue;
        }
        const size_t take = size < 64 - held ? size : 64 - held;
        memcpy(hash->block + held, bytes, take);
        held += take;
        bytes += take;
        size -= take;
        if (held == 64) {
            compress(hash->state, hash->block);
            held = 0;
        }
    }
}

void ht_sha256_end(ht_sha256 *hash, uint8_t digest[32]) {
    const uint64_t bits = hash->size * 8;
    size_t held = (size_t)(hash->size % 64);
    hash->block[held++] = 0x80;
    if (held > 56) {
        memset(hash->block + held, 0, 64 - held);
        compress(hash->state, hash->block);
        held = 0;
    }
    memset(hash->block + held, 0, 56 - held);
    store32_be(hash->block + 56, (uint32_t)(bits >> 32));
    store32_be(hash->block + 60, (uint32_t)bits);
    compress(hash->state, hash->block);
    for (int i = 0; i < 8; i++) {
        store32_be(digest + 4 * i, hash->state[i]);
    }
}

void ht_sha256_of(const uint8_t *bytes, size_t size, uint8_t digest[32]) {
    ht_sha256 hash;
    ht_sha256_begin(&hash);
    ht_sha256_add(&hash, bytes, size);
    ht_sha256_end(&hash, digest);
}

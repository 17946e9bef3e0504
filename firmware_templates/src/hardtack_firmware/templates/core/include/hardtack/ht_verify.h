/* Who vouches for a bundle, and is it what they vouched for (SPEC section 6.3). */
#ifndef HARDTACK_HT_VERIFY_H
#define HARDTACK_HT_VERIFY_H

#include <stdint.h>

#include "hardtack/ht_reason.h"

#define HT_KEYS 2

/* In a bundle's header, bytes (SPEC section 1.1). */
enum {
    HT_AT_TOTAL_SIZE = 8,
    HT_AT_DIGEST = 16,
    HT_AT_NAME = 48,
    HT_AT_VERSION = 80,
    HT_AT_HARDWARE = 96,
    HT_AT_MODEL_ID = 112,
    HT_AT_KEY_ID = 136,
    HT_SIGNED_SIZE = 160
};

/* Whom a device trusts. A key of zeros is nobody's. */
typedef struct ht_trust {
    const uint8_t (*keys)[32]; /* HT_KEYS of them */
    const char *hardware;      /* class of the device, at most 15 bytes */
} ht_trust;

/* First 8 bytes of SHA-256 over a key; zeros for a key of zeros. */
void ht_key_id(const uint8_t key[32], uint8_t id[8]);

/* What tells a bundle from any other: SHA-256 over its signed header. */
void ht_bundle_id(const uint8_t *bundle, uint8_t id[32]);

/* Is this the header of a bundle of the version this firmware reads, that fits in `room` bytes? */
int ht_header_is_plausible(const uint8_t *bundle, uint32_t room);

/* Rules 1 to 3: header, key, signature, hardware. */
ht_reason ht_verify_header(const ht_trust *trust, const uint8_t *bundle, uint32_t room);

/* Rule 5: the payload, as it lies there. The header must be plausible. */
ht_reason ht_verify_digest(const uint8_t *bundle);

#endif

#include "hardtack/ht_verify.h"

#include "hardtack/ht_bundle.h"
#include "hardtack/ht_ed25519.h"
#include "hardtack/ht_sha256.h"
#include "ht_bytes.h"

#define KEY_SIZE 32u
#define HARDWARE_SIZE 16u

/* Sections table included: less than that is no bundle. */
#define SMALLEST (HT_HEADER_SIZE + 24u)

void ht_key_id(const uint8_t key[32], uint8_t id[8]) {
    uint8_t digest[32];
    memset(id, 0, 8);
    if (!is_zero(key, KEY_SIZE)) {
        ht_sha256_of(key, KEY_SIZE, digest);
        memcpy(id, digest, 8);
    }
}

void ht_bundle_id(const uint8_t *bundle, uint8_t id[32]) {
    ht_sha256_of(bundle, HT_SIGNED_SIZE, id);
}

int ht_header_is_plausible(const uint8_t *bundle, uint32_t room) {
    const uint32_t total = get32(bundle + HT_AT_TOTAL_SIZE);
    return memcmp(bundle, "HTB1", 4) == 0 && get16(bundle + 4) == HT_FORMAT_VERSION &&
           get16(bundle + 6) == HT_KERNEL_ABI && total % 4 == 0 && total >= SMALLEST &&
           total <= room && get32(bundle + 12) == HT_HEADER_SIZE && is_zero(bundle + 92, 4) &&
           is_zero(bundle + 144, 16);
}

/* The trusted key of this id, or NULL. */
static const uint8_t *find_key(const ht_trust *trust, const uint8_t id[8]) {
    for (int i = 0; i < HT_KEYS; i++) {
        uint8_t its_id[8];
        ht_key_id(trust->keys[i], its_id);
        if (!is_zero(its_id, 8) && memcmp(its_id, id, 8) == 0) {
            return trust->keys[i];
        }
    }
    return NULL;
}

static int names_this_hardware(const ht_trust *trust, const uint8_t *field) {
    uint8_t padded[HARDWARE_SIZE] = {0};
    static const uint8_t any[HARDWARE_SIZE] = "any";
    memcpy(padded, trust->hardware, strlen(trust->hardware));
    return memcmp(field, padded, HARDWARE_SIZE) == 0 || memcmp(field, any, HARDWARE_SIZE) == 0;
}

ht_reason ht_verify_header(const ht_trust *trust, const uint8_t *bundle, uint32_t room) {
    if (!ht_header_is_plausible(bundle, room)) {
        return HT_REASON_HEADER;
    }
    const uint8_t *key = find_key(trust, bundle + HT_AT_KEY_ID);
    if (key == NULL) {
        return HT_REASON_KEY;
    }
    if (!ht_ed25519_verifies(bundle + HT_SIGNED_SIZE, key, bundle, HT_SIGNED_SIZE)) {
        return HT_REASON_SIGNATURE;
    }
    return names_this_hardware(trust, bundle + HT_AT_HARDWARE) ? HT_REASON_OK : HT_REASON_HARDWARE;
}

ht_reason ht_verify_digest(const uint8_t *bundle) {
    uint8_t digest[32];
    const uint32_t total = get32(bundle + HT_AT_TOTAL_SIZE);
    ht_sha256_of(bundle + HT_HEADER_SIZE, total - HT_HEADER_SIZE, digest);
    return memcmp(digest, bundle + HT_AT_DIGEST, sizeof digest) == 0 ? HT_REASON_OK
                                                                     : HT_REASON_DIGEST;
}

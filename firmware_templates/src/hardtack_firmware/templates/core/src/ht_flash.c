#include "hardtack/ht_flash.h"

#include <string.h>

int ht_flash_is_erased(const uint8_t *bytes, uint32_t size) {
    for (uint32_t i = 0; i < size; i++) {
        if (bytes[i] != 0xFF) {
            return 0;
        }
    }
    return 1;
}

ht_reason ht_flash_erase(const ht_flash *flash, uint32_t at, uint32_t size) {
    const int failed = flash->erase(flash->context, at, size);
    return failed == 0 && ht_flash_is_erased(flash->base + at, size) ? HT_REASON_OK
                                                                     : HT_REASON_FLASH;
}

/* Refuse before anything is written: a unit that is neither right nor erased needs an erasure. */
static ht_reason check_writable(const ht_flash *flash, uint32_t at, const uint8_t *bytes,
                                uint32_t size, uint32_t *failed) {
    for (uint32_t i = 0; i < size; i += flash->write_unit) {
        const uint8_t *there = flash->base + at + i;
        if (memcmp(there, bytes + i, flash->write_unit) != 0 &&
            !ht_flash_is_erased(there, flash->write_unit)) {
            *failed = at + i;
            return HT_REASON_NOT_ERASED;
        }
    }
    return HT_REASON_OK;
}

ht_reason ht_flash_program(const ht_flash *flash, uint32_t at, const uint8_t *bytes, uint32_t size,
                           uint32_t *failed) {
    const uint32_t unit = flash->write_unit;
    const ht_reason reason = check_writable(flash, at, bytes, size, failed);
    if (reason != HT_REASON_OK) {
        return reason;
    }
    for (uint32_t i = 0; i < size; i += unit) {
        const uint8_t *there = flash->base + at + i;
        if (memcmp(there, bytes + i, unit) == 0) {
            continue;
        }
        if (flash->program(flash->context, at + i, bytes + i, unit) != 0 ||
            memcmp(there, bytes + i, unit) != 0) {
            *failed = at + i;
            return HT_REASON_FLASH;
        }
    }
    return HT_REASON_OK;
}

/* Flash as the core sees it: memory to read, two calls to change it (SPEC section 6.1). */
#ifndef HARDTACK_HT_FLASH_H
#define HARDTACK_HT_FLASH_H

#include <stdint.h>

#include "hardtack/ht_reason.h"

#define HT_MAX_WRITE_UNIT 32u

/* Both calls return 0 when the flash took it. What they wrote is read back, so a port whose flash
 * reports no errors may always return 0. Offsets count from `base`. */
typedef struct ht_flash {
    const uint8_t *base;    /* where the processor reads it, at a multiple of 4 */
    uint32_t slot_at[2];    /* offsets of slots A and B, multiples of chunk_size */
    uint32_t slot_size;     /* bytes of a slot, a multiple of chunk_size */
    uint32_t chunk_size;    /* bytes erased at once in a slot, a multiple of write_unit */
    uint32_t journal_at;    /* offset of the journal: two units */
    uint32_t journal_unit;  /* bytes erased at once there, a multiple of 64 */
    uint32_t unpacked_at;   /* offset of the region for unpacked weights, at a multiple of 16 */
    uint32_t unpacked_size; /* its bytes, a multiple of unpacked_unit; 0: there is none */
    uint32_t unpacked_unit; /* bytes erased at once there */
    uint32_t write_unit;    /* bytes programmed at once: 1, 2, 4, 8, 16 or 32 */
    int (*erase)(void *context, uint32_t at, uint32_t size);
    int (*program)(void *context, uint32_t at, const uint8_t *bytes, uint32_t size);
    void *context; /* given to both */
} ht_flash;

/* Are these bytes erased? */
int ht_flash_is_erased(const uint8_t *bytes, uint32_t size);

/* Erase one unit and read it back. */
ht_reason ht_flash_erase(const ht_flash *flash, uint32_t at, uint32_t size);

/* Program bytes and read them back. A write unit that holds its bytes already, as an erased one
 * holds 0xFF, is left alone: each is programmed once.
 *
 * at, size  multiples of write_unit
 * failed    on HT_REASON_NOT_ERASED or HT_REASON_FLASH the offset of the first wrong unit */
ht_reason ht_flash_program(const ht_flash *flash, uint32_t at, const uint8_t *bytes, uint32_t size,
                           uint32_t *failed);

#endif

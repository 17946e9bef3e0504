/* What a device says of each bundle on standard input, by the very path an update takes.
 *
 * In: u32 size, then that many bytes, until the input ends. Out: for each bundle one byte, the
 * reason of FINISH, or else that of the trial which follows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hardtack/ht_board.h"
#include "hardtack/ht_device.h"

#define SLOT 65536u
#define JOURNAL_UNIT 256u
#define POOL (1u << 22)

static int ram_erase(void *context, uint32_t at, uint32_t size) {
    memset((uint8_t *)context + at, 0xFF, size);
    return 0;
}

static int ram_program(void *context, uint32_t at, const uint8_t *bytes, uint32_t size) {
    memcpy((uint8_t *)context + at, bytes, size);
    return 0;
}

static ht_reason judge(ht_device *device) {
    uint8_t id[32];
    uint32_t detail;
    int active;
    ht_device_start(device);
    ht_bundle_id(ht_device_slot(device, 1), id);
    const ht_reason reason = ht_device_finish(device, 1, 1, id, &detail, &active);
    if (reason != HT_REASON_OK) {
        return reason;
    }
    ht_device_start(device); /* the reset, and the trial */
    return (ht_reason)device->journal.outcome;
}

int main(void) {
    static ht_device device;
    uint8_t *bytes = malloc(2 * SLOT + 2 * JOURNAL_UNIT);
    uint8_t *pool = malloc(POOL);
    uint32_t size;
    if (bytes == NULL || pool == NULL) {
        return 2;
    }
    const ht_flash flash = {.base = bytes,
                            .slot_at = {0, SLOT},
                            .slot_size = SLOT,
                            .chunk_size = 256,
                            .journal_at = 2 * SLOT,
                            .journal_unit = JOURNAL_UNIT,
                            .write_unit = 8,
                            .erase = ram_erase,
                            .program = ram_program,
                            .context = bytes};
    while (fread(&size, sizeof size, 1, stdin) == 1) {
        memset(bytes, 0xFF, 2 * SLOT + 2 * JOURNAL_UNIT);
        if (size > SLOT || fread(bytes + SLOT, 1, size, stdin) != size) {
            return 2;
        }
        memset(&device, 0, sizeof device);
        device.flash = &flash;
        device.trust.keys = ht_public_keys;
        device.trust.hardware = "cortex-m4";
        device.pool = pool;
        device.pool_size = POOL;
        putchar((int)judge(&device));
    }
    free(pool);
    free(bytes);
    return fflush(stdout) == 0 ? 0 : 2;
}

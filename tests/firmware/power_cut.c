/* Cuts the power of a device at every flash operation and inside it, again while it recovers.
 *
 *     power_cut OLD NEW ACCEPTED
 *
 * Installs OLD, then, for every cut, NEW over it. After each cut the device must start with OLD or
 * NEW, whole, in the slot it calls active; a NEW that no device may accept (ACCEPTED 0) must never
 * be it. At last, without cuts, it must end with NEW, or with OLD where NEW is not acceptable.
 * Prints the number of cuts, or the first bad state and exit status 1.
 *
 * Compiled with a POOL that is too small for all weights, these are unpacked to flash: the record
 * of them must be written when they are there, and what is there be looked at before it is used. */
#define _POSIX_C_SOURCE 200112L

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hardtack/ht_board.h"
#include "hardtack/ht_crc32.h"
#include "hardtack/ht_device.h"
#include "hardtack/ht_unpack.h"
#include "ht_load.h"

#define CHUNK 256u
#define CHUNKS 8u
#define SLOT (CHUNK * CHUNKS)
#define JOURNAL_UNIT 256u /* four records: full after two updates, so that units change too */
#define UNPACKED_AT (2 * SLOT + 2 * JOURNAL_UNIT)
#define UNPACKED_SIZE 512u
#define FLASH_SIZE (UNPACKED_AT + UNPACKED_SIZE)
#ifndef UNIT
#define UNIT 8u
#endif
#ifndef POOL
#define POOL 4096
#define WAY HT_WAY_MEMORY
#elif defined(WORN)
#define WAY HT_WAY_LAYERS
#else
#define WAY HT_WAY_FLASH
#endif

/* How an operation is torn: bytes done, then one byte in between. */
#define TEARS 3

static _Alignas(16) uint8_t flash_bytes[FLASH_SIZE];
static _Alignas(16) uint8_t pool[POOL];
static uint8_t old_bundle[SLOT], new_bundle[SLOT];
static uint32_t old_size, new_size;
static jmp_buf power;
static long cut_at; /* operations until the cut; negative: never */
static int tear;    /* 0: before it, 1: in the middle, 2: all but the last byte */
static long operations;
static uint32_t noise_state = 1;

static uint8_t noise(void) {
    noise_state = noise_state * 1664525u + 1013904223u;
    return (uint8_t)(noise_state >> 24);
}

/* Returns how many of `size` bytes are done; `size` when the power holds. */
static uint32_t survive(uint32_t size) {
    operations++;
    if (cut_at < 0 || cut_at-- > 0) {
        return size;
    }
    return tear == 0 ? 0 : tear == 1 ? size / 2 : size - 1;
}

static int sim_erase(void *context, uint32_t at, uint32_t size) {
#ifdef WORN /* the region of unpacked weights takes nothing */
    if (at >= UNPACKED_AT) {
        return -1;
    }
#endif
    const uint32_t done = survive(size);
    (void)context;
    memset(flash_bytes + at, 0xFF, done);
    if (done < size) {
        if (tear != 0) { /* a cell on its way up reads as anything between */
            flash_bytes[at + done] = (uint8_t)(flash_bytes[at + done] | noise());
        }
        longjmp(power, 1);
    }
    return 0;
}

/* Is what the record says of unpacked weights true of them? */
static int is_record_of_weights_true(void) {
    const uint8_t *weights = flash_bytes + UNPACKED_AT;
    const uint8_t *record = weights + UNPACKED_SIZE - 64;
    if (memcmp(record, "HTU1", 4) != 0 || load32_le(record + 60) != ht_crc32(0, record, 60)) {
        return 1;
    }
    const uint32_t size = load32_le(record + 4);
    return size <= UNPACKED_SIZE - 64 && load32_le(record + 8) == ht_crc32(0, weights, size);
}

static int sim_program(void *context, uint32_t at, const uint8_t *bytes, uint32_t size) {
    const uint32_t done = survive(size);
    (void)context;
    for (uint32_t i = 0; i < done; i++) {
        if (flash_bytes[at + i] != 0xFF) {
            printf("a write unit was programmed twice, at %u\n", (unsigned)at);
            exit(1);
        }
        flash_bytes[at + i] = bytes[i];
    }
    if (done < size) {
        if (tear != 0) {
            flash_bytes[at + done] = (uint8_t)(bytes[done] | noise());
        }
        longjmp(power, 1);
    }
    if (at >= FLASH_SIZE - 64 && !is_record_of_weights_true()) {
        printf("weights are recorded before they are there\n");
        exit(1);
    }
    return 0;
}

static const ht_flash flash = {.base = flash_bytes,
                               .slot_at = {0, SLOT},
                               .slot_size = SLOT,
                               .chunk_size = CHUNK,
                               .journal_at = 2 * SLOT,
                               .journal_unit = JOURNAL_UNIT,
                               .unpacked_at = UNPACKED_AT,
                               .unpacked_size = UNPACKED_SIZE,
                               .unpacked_unit = 256,
                               .write_unit = UNIT,
                               .erase = sim_erase,
                               .program = sim_program,
                               .context = NULL};

static ht_device device;
static uint32_t watched[64]; /* operators in the order they were told */
static uint32_t watched_count;

static void watch(uint32_t op) {
    if (watched_count < 64) {
        watched[watched_count++] = op;
    }
}

static void start(void) {
    memset(&device, 0, sizeof device);
    device.flash = &flash;
    device.trust.keys = ht_public_keys;
    device.trust.hardware = "posix";
    device.pool = pool;
    device.pool_size = sizeof pool;
    device.watch = watch;
    watched_count = 0;
    ht_device_start(&device);
}

/* What a host does: make every chunk right, then finish. Returns 1 when that was accepted. */
static int install(const uint8_t *bundle, uint32_t size) {
    uint8_t id[32];
    uint8_t padded[CHUNK];
    uint32_t failed;
    int active = 0;
    const uint32_t slot = device.journal.active == 0 ? 1 : 0;
    for (uint32_t at = 0; at < size; at += CHUNK) {
        const uint32_t n = size - at < CHUNK ? size - at : CHUNK;
        memset(padded, 0xFF, sizeof padded);
        memcpy(padded, bundle + at, n);
        if (memcmp(ht_device_slot(&device, slot) + at, padded, CHUNK) == 0) {
            continue;
        }
        if (ht_device_erase(&device, slot, at / CHUNK) != HT_REASON_OK ||
            ht_device_write(&device, slot, at, padded, CHUNK, &failed) != HT_REASON_OK) {
            return 0;
        }
    }
    ht_bundle_id(bundle, id);
    return ht_device_finish(&device, slot, 1, id, &failed, &active) == HT_REASON_OK;
}

/* Are the weights that run where they should be, and what they should be? */
static int are_weights_right(void) {
    static _Alignas(16) uint8_t right[4096];
    const ht_bundle *bundle = &device.model.bundle;
    const uint8_t *there =
        WAY == HT_WAY_FLASH ? flash_bytes + UNPACKED_AT : pool + bundle->arena_size;
    return device.way == WAY && (const uint8_t *)device.model.weights == there &&
           (WAY == HT_WAY_LAYERS || /* then they are those of the last operator */
            (bundle->unpacked_size <= sizeof right && ht_unpack_all(bundle, right) == HT_OK &&
             memcmp(there, right, bundle->unpacked_size) == 0));
}

/* Does the active slot hold, byte for byte, one of the two, and does it run? */
static int is_good(int accepted) {
    const uint8_t slot = device.journal.active;
    if (slot > 1 || device.running != slot || !are_weights_right()) {
        return 0;
    }
    const uint8_t *there = ht_device_slot(&device, slot);
    return memcmp(there, old_bundle, old_size) == 0 ||
           (accepted && memcmp(there, new_bundle, new_size) == 0);
}

/* What a flash without power says: the newest record is not lost, and names OLD, or NEW if that is
 * acceptable. Starting may mend more than this, so it is asked before. */
static int is_recorded_good(uint32_t least_sequence, int accepted) {
    ht_journal journal;
    uint32_t newest_at;
    ht_journal_load(&flash, &journal, &newest_at);
    if (journal.sequence < least_sequence || journal.active > 1) {
        return 0;
    }
    const uint8_t *there = flash_bytes + flash.slot_at[journal.active];
    return memcmp(there, old_bundle, old_size) == 0 ||
           (accepted && memcmp(there, new_bundle, new_size) == 0);
}

static void bad(const char *what, long first, int first_tear, long second) {
    printf("bad state (%s): cut %ld tear %d, second cut %ld: active %u running %u why %u\n", what,
           first, first_tear, second, device.journal.active, device.running, device.why);
    exit(1);
}

static uint32_t sequence_before; /* of the newest record when the update begins */

/* Start until the power holds, as often as it is cut; at most twice here. */
static void start_with_cut(long second_cut, int accepted) {
    cut_at = second_cut;
    if (setjmp(power) == 0) {
        start();
    } else {
        cut_at = -1;
        if (!is_recorded_good(sequence_before, accepted)) {
            bad("on record after the second cut", -1, tear, second_cut);
        }
        start();
    }
    cut_at = -1;
}

/* A device with OLD confirmed, after `updates` more records, so that the journal's units change at
 * any place of the update. */
static void prepare(int updates) {
    cut_at = -1;
    memset(flash_bytes, 0xFF, sizeof flash_bytes);
    start();
    if (!install(old_bundle, old_size)) {
        printf("the old bundle was refused\n");
        exit(1);
    }
    start();
    for (int i = 0; i < updates; i++) {
        (void)ht_journal_append(&flash, &device.journal);
    }
    start();
    sequence_before = device.journal.sequence;
    if (!is_good(0)) {
        bad("before any cut", -1, 0, -1);
    }
}

/* Install NEW with the power cut at operation `first`; returns 0 when that is never reached. */
static int update_with_cut(int updates, long first, int first_tear) {
    prepare(updates);
    cut_at = first;
    tear = first_tear;
    if (setjmp(power) == 0) {
        if (install(new_bundle, new_size)) {
            start();
        }
        cut_at = -1;
        return 0;
    }
    cut_at = -1;
    return 1;
}

static long sweep(int updates, int accepted) {
    static uint8_t after_cut[FLASH_SIZE];
    long cuts = 0;
    for (int first_tear = 0; first_tear < TEARS; first_tear++) {
        for (long first = 0; update_with_cut(updates, first, first_tear); first++) {
            memcpy(after_cut, flash_bytes, sizeof after_cut);
            for (long second = -1;; second++) {
                memcpy(flash_bytes, after_cut, sizeof after_cut);
                if (!is_recorded_good(sequence_before, accepted)) {
                    bad("on record", first, first_tear, second);
                }
                tear = first_tear;
                operations = 0;
                start_with_cut(second, accepted);
                cuts++;
                if (!is_good(accepted)) {
                    bad("after a cut", first, first_tear, second);
                }
                if (second >= operations) {
                    break;
                }
            }
            /* The host comes back and does it all again. */
            if (install(new_bundle, new_size)) {
                start();
            }
            if (!is_good(accepted) ||
                (accepted && memcmp(ht_device_slot(&device, device.journal.active), new_bundle,
                                    new_size) != 0)) {
                bad("at last", first, first_tear, -1);
            }
        }
    }
    return cuts;
}

/* A bit of the weights in flash flips while the power is off: they are unpacked again. */
static void rot(void) {
    prepare(0);
    for (uint32_t at = 0; at < device.model.bundle.unpacked_size; at++) {
        flash_bytes[UNPACKED_AT + at] ^= 1;
        start();
        if (!is_good(0)) {
            bad("after a bit of the unpacked weights flipped", (long)at, 0, -1);
        }
    }
}

static uint32_t load(const char *path, uint8_t *bytes) {
    FILE *file = fopen(path, "rb");
    const size_t size = file == NULL ? 0 : fread(bytes, 1, SLOT, file);
    if (file != NULL) {
        fclose(file);
    }
    return (uint32_t)size;
}

/* Is every operator of the golden vectors told before it runs, and the end of it all? */
static int is_watched(void) {
    ht_golden golden;
    (void)ht_golden_open(&device.model, &golden);
    const uint32_t ops = device.model.op_count;
    for (uint32_t i = 0; i < golden.count * ops; i++) {
        if (watched[i] != i % ops) {
            return 0;
        }
    }
    return watched_count == golden.count * ops + 1 && watched[golden.count * ops] == UINT32_MAX;
}

int main(int argc, char **argv) {
    long cuts = 0;
    if (argc != 4) {
        return 2;
    }
    old_size = load(argv[1], old_bundle);
    new_size = load(argv[2], new_bundle);
    const int accepted = atoi(argv[3]);
    for (int updates = 0; updates < 4; updates++) {
        cuts += sweep(updates, accepted);
    }
    rot();
    start();
    if (!is_watched()) {
        printf("the operators of the golden vectors are not told one by one\n");
        return 1;
    }
    printf("%ld cuts\n", cuts);
    return 0;
}

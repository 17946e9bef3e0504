/* A device: its slots, the model that runs, and how one takes the other's place (SPEC 6.4).
 *
 * No input or output but the flash's: tests cut the power at every call of it. */
#ifndef HARDTACK_HT_DEVICE_H
#define HARDTACK_HT_DEVICE_H

#include "hardtack/ht_golden.h"
#include "hardtack/ht_journal.h"
#include "hardtack/ht_verify.h"
#include "hardtack/ht_weights.h"

#define HT_ATTEMPTS 3

typedef struct ht_device {
    /* given before ht_device_start: */
    const ht_flash *flash;
    ht_trust trust;
    uint8_t *pool; /* memory for the arena, and perhaps weights, at a multiple of 16 */
    uint32_t pool_size;
    void (*watch)(uint32_t op); /* told of every operator before it runs; may be NULL */
    /* its own: */
    ht_journal journal;
    ht_model model;
    uint8_t running; /* slot whose model runs, or HT_NO_SLOT */
    uint8_t why;     /* ht_reason for which none does */
    uint8_t way;     /* ht_way of the weights of the one that runs */
    uint32_t detail;
} ht_device;

/* Start: finish a trial, or start what is active, or the other slot, or what came with the
 * firmware. May be called again: it is what a reset does. */
void ht_device_start(ht_device *device);

/* Where a slot begins, as the processor reads it. */
const uint8_t *ht_device_slot(const ht_device *device, uint32_t slot);

/* Erase chunk `chunk` of a slot that is not in use. */
ht_reason ht_device_erase(ht_device *device, uint32_t slot, uint32_t chunk);

/* Program bytes in a slot that is not in use.
 *
 * failed  on HT_REASON_NOT_ERASED or HT_REASON_FLASH the offset in the slot */
ht_reason ht_device_write(ht_device *device, uint32_t slot, uint32_t offset, const uint8_t *bytes,
                          uint32_t size, uint32_t *failed);

/* Verify what a slot holds and put it on trial; the caller then resets.
 *
 * again   also when it was given up before
 * id      of what the caller wrote
 * detail  of the reason
 * active  1 when this very bundle is the active one already: nothing is done */
ht_reason ht_device_finish(ht_device *device, uint32_t slot, int again, const uint8_t id[32],
                           uint32_t *detail, int *active);

/* Run the model that runs on what lies in its inputs. */
ht_reason ht_device_run(ht_device *device);

#endif

/* The journal: which slot is active, which is on trial, how often it was tried (SPEC 6.2). */
#ifndef HARDTACK_HT_JOURNAL_H
#define HARDTACK_HT_JOURNAL_H

#include "hardtack/ht_flash.h"

#define HT_NO_SLOT 255
#define HT_CONFIRMED_BYTES 12
#define HT_REFUSED_BYTES 8

typedef struct ht_journal {
    uint32_t sequence; /* 0: there is no record */
    uint8_t active;    /* 0, 1 or HT_NO_SLOT */
    uint8_t trial;     /* 0, 1 or HT_NO_SLOT */
    uint8_t attempts;  /* trials begun */
    uint8_t outcome;   /* ht_reason of the last trial's end */
    uint32_t detail;
    uint32_t floor[3];                        /* lowest version taken */
    uint8_t confirmed[2][HT_CONFIRMED_BYTES]; /* of the bundle's id, per slot */
    uint8_t refused[HT_REFUSED_BYTES];        /* of the bundle's id */
} ht_journal;

/* Read the newest record that is whole, or the state of a device without any.
 *
 * newest_at  where it lies, an offset of the flash */
void ht_journal_load(const ht_flash *flash, ht_journal *journal, uint32_t *newest_at);

/* Append `journal` with the next sequence number. The newest record is read for the place, not
 * remembered: an append that was refused may be tried again. */
ht_reason ht_journal_append(const ht_flash *flash, ht_journal *journal);

#endif

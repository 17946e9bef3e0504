#include "hardtack/ht_journal.h"

#include "hardtack/ht_crc32.h"
#include "ht_bytes.h"

#define RECORD_SIZE 64u

/* In a record, bytes. */
enum {
    AT_SEQUENCE = 4,
    AT_ACTIVE = 8,
    AT_DETAIL = 12,
    AT_FLOOR = 16,
    AT_CONFIRMED = 28,
    AT_REFUSED = 52,
    AT_CRC = 60
};

static const uint8_t magic[4] = {'H', 'T', 'J', '1'};

static int is_whole(const uint8_t *record) {
    return memcmp(record, magic, sizeof magic) == 0 &&
           get32(record + AT_CRC) == ht_crc32(0, record, AT_CRC);
}

static void read_record(const uint8_t *record, ht_journal *journal) {
    journal->sequence = get32(record + AT_SEQUENCE);
    journal->active = record[AT_ACTIVE];
    journal->trial = record[AT_ACTIVE + 1];
    journal->attempts = record[AT_ACTIVE + 2];
    journal->outcome = record[AT_ACTIVE + 3];
    journal->detail = get32(record + AT_DETAIL);
    for (uint32_t i = 0; i < 3; i++) {
        journal->floor[i] = get32(record + AT_FLOOR + 4 * i);
    }
    memcpy(journal->confirmed, record + AT_CONFIRMED, sizeof journal->confirmed);
    memcpy(journal->refused, record + AT_REFUSED, sizeof journal->refused);
}

static void write_record(const ht_journal *journal, uint8_t *record) {
    memcpy(record, magic, sizeof magic);
    put32(record + AT_SEQUENCE, journal->sequence);
    record[AT_ACTIVE] = journal->active;
    record[AT_ACTIVE + 1] = journal->trial;
    record[AT_ACTIVE + 2] = journal->attempts;
    record[AT_ACTIVE + 3] = journal->outcome;
    put32(record + AT_DETAIL, journal->detail);
    for (uint32_t i = 0; i < 3; i++) {
        put32(record + AT_FLOOR + 4 * i, journal->floor[i]);
    }
    memcpy(record + AT_CONFIRMED, journal->confirmed, sizeof journal->confirmed);
    memcpy(record + AT_REFUSED, journal->refused, sizeof journal->refused);
    put32(record + AT_CRC, ht_crc32(0, record, AT_CRC));
}

void ht_journal_load(const ht_flash *flash, ht_journal *journal, uint32_t *newest_at) {
    memset(journal, 0, sizeof *journal);
    journal->active = HT_NO_SLOT;
    journal->trial = HT_NO_SLOT;
    *newest_at = flash->journal_at;
    const uint32_t end = flash->journal_at + 2 * flash->journal_unit;
    for (uint32_t at = flash->journal_at; at < end; at += RECORD_SIZE) {
        const uint8_t *record = flash->base + at;
        if (is_whole(record) && get32(record + AT_SEQUENCE) > journal->sequence) {
            read_record(record, journal);
            *newest_at = at;
        }
    }
}

/* The first place behind the newest record from which on its unit is erased; 0 when there is
 * none. */
static int find_place(const ht_flash *flash, uint32_t newest_at, uint32_t *place) {
    const uint32_t offset = newest_at - flash->journal_at;
    const uint32_t unit_end =
        flash->journal_at + (offset / flash->journal_unit + 1) * flash->journal_unit;
    uint32_t at = unit_end;
    while (at - RECORD_SIZE > newest_at &&
           ht_flash_is_erased(flash->base + at - RECORD_SIZE, RECORD_SIZE)) {
        at -= RECORD_SIZE;
    }
    *place = at;
    return at < unit_end;
}

ht_reason ht_journal_append(const ht_flash *flash, ht_journal *journal) {
    uint8_t record[RECORD_SIZE];
    ht_journal newest;
    uint32_t newest_at;
    uint32_t place;
    uint32_t failed;
    ht_journal_load(flash, &newest, &newest_at);
    if (newest.sequence == 0 || !find_place(flash, newest_at, &place)) {
        /* The other unit: the newest record must outlive the erasure. */
        const uint32_t second = flash->journal_at + flash->journal_unit;
        place = newest.sequence != 0 && newest_at < second ? second : flash->journal_at;
        const ht_reason reason = ht_flash_erase(flash, place, flash->journal_unit);
        if (reason != HT_REASON_OK) {
            return reason;
        }
    }
    journal->sequence = newest.sequence + 1;
    write_record(journal, record);
    return ht_flash_program(flash, place, record, RECORD_SIZE, &failed);
}

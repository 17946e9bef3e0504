#include "ht_nor.h"

#include "hardtack/ht_status.h"

#define UNIT 4096u

HT_STATIC_ASSERT(UNPACKED_SIZE_is_a_multiple_of_the_erase_unit, HT_UNPACKED_SIZE % UNIT == 0);

static int nor_erase(void *context, uint32_t at, uint32_t size) {
    volatile uint8_t *bytes = (uint8_t *)context + at;
    for (uint32_t i = 0; i < size; i++) {
        bytes[i] = 0xFF;
    }
    return 0;
}

static int nor_program(void *context, uint32_t at, const uint8_t *bytes, uint32_t size) {
    volatile uint8_t *there = (uint8_t *)context + at;
    for (uint32_t i = 0; i < size; i++) {
        there[i] = (uint8_t)(there[i] & bytes[i]);
    }
    return 0;
}

void ht_nor_start(ht_flash *flash, uint8_t *base, uint32_t slot_size) {
    flash->base = base;
    flash->slot_at[0] = 0;
    flash->slot_at[1] = slot_size;
    flash->slot_size = slot_size;
    flash->chunk_size = UNIT;
    flash->journal_at = 2 * slot_size;
    flash->journal_unit = UNIT;
    flash->unpacked_at = flash->journal_at + 2 * UNIT;
    flash->unpacked_size = HT_UNPACKED_SIZE;
    flash->unpacked_unit = UNIT;
    flash->write_unit = 4;
    flash->erase = nor_erase;
    flash->program = nor_program;
    flash->context = base;
}

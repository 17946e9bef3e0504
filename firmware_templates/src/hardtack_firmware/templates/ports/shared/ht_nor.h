/* Flash emulated in memory: erasing gives 0xFF, programming clears bits. */
#ifndef HARDTACK_HT_NOR_H
#define HARDTACK_HT_NOR_H

#include "hardtack/ht_flash.h"

/* Two slots of slot_size, then two journal units of 4096, then HT_UNPACKED_SIZE bytes for unpacked
 * weights, from base on. */
void ht_nor_start(ht_flash *flash, uint8_t *base, uint32_t slot_size);

#endif

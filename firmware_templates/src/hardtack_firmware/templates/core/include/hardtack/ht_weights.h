/* Where the coded weights of a model are unpacked (SPEC section 6.5). */
#ifndef HARDTACK_HT_WEIGHTS_H
#define HARDTACK_HT_WEIGHTS_H

#include "hardtack/ht_flash.h"
#include "hardtack/ht_interpreter.h"

typedef enum ht_way {
    HT_WAY_MEMORY = 0, /* all of them, behind the arena */
    HT_WAY_FLASH = 1,  /* all of them, in flash */
    HT_WAY_LAYERS = 2, /* those of one operator, behind the arena, each time it runs */
    HT_WAY_NONE = 3    /* there is no memory for this model */
} ht_way;

/* Choose: the first way for which there is room.
 *
 * pool_size  bytes of memory for arena and weights
 * least      the smallest pool_size that would do */
ht_way ht_weights_choose(const ht_flash *flash, const ht_model *model, uint32_t pool_size,
                         uint32_t *least);

/* Give an opened model its memory, that way; weights that are in flash already stay there.
 *
 * way     becomes HT_WAY_LAYERS where flash did not take the weights and there is memory for that
 * pool    at a multiple of 16; what it held is lost
 * detail  on HT_REASON_STRUCTURE the ht_status, on HT_REASON_FLASH the offset */
ht_reason ht_weights_place(const ht_flash *flash, ht_model *model, ht_way *way, uint8_t *pool,
                           uint32_t pool_size, uint32_t *detail);

#endif

/* Golden vectors: inputs that travel with a bundle, and the bits they must give on every device
 * (SPEC section 1.8). */
#ifndef HARDTACK_HT_GOLDEN_H
#define HARDTACK_HT_GOLDEN_H

#include "hardtack/ht_interpreter.h"

typedef struct ht_golden {
    uint32_t count;       /* vectors */
    uint32_t record_size; /* bytes of a seeded vector */
    uint32_t sample_size; /* bytes of its inputs in a vector that holds them */
    ht_span records;
    void (*watch)(uint32_t op); /* told of an operator before it runs; NULL once opened */
} ht_golden;

/* Check the GOLD section of an opened model. */
HT_API ht_status ht_golden_open(const ht_model *model, ht_golden *golden);

/* Run vector `index` and compare every operator's output.
 *
 * diverged  on HT_ERR_DIVERGED the first operator whose bits differ, or op_count when only the
 *           outputs do; may be NULL */
HT_API ht_status ht_golden_replay(ht_model *model, const ht_golden *golden, uint32_t index,
                                  uint32_t *diverged);

/* Fill `count` codes from the generator and advance its state; the state starts as the seed. */
HT_API void ht_golden_fill(uint32_t *state, int8_t *codes, int32_t count);

#endif

/* Walking two operands of an elementwise operator whose dims of 1 repeat. */
#ifndef HARDTACK_HT_BROADCAST_H
#define HARDTACK_HT_BROADCAST_H

#include "hardtack/ht_kernels.h"

/* Steps in elements for one more n, h, w, c of the output: 0 along a dim of 1. */
static inline ht_dims ht_steps(ht_dims dims) {
    const ht_dims steps = {dims.n == 1 ? 0 : dims.h * dims.w * dims.c,
                           dims.h == 1 ? 0 : dims.w * dims.c, dims.w == 1 ? 0 : dims.c,
                           dims.c == 1 ? 0 : 1};
    return steps;
}

/* Where an operand's row [c] for output position n, h, w begins. */
static inline int32_t ht_row_at(ht_dims steps, int32_t n, int32_t h, int32_t w) {
    return n * steps.n + h * steps.h + w * steps.w;
}

#endif

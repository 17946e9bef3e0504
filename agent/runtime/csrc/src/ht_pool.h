/* Pooling windows, clipped to the image. */
#ifndef HARDTACK_HT_POOL_H
#define HARDTACK_HT_POOL_H

#include "hardtack/ht_kernels.h"

typedef struct ht_range {
    int32_t first, last; /* [first, last) */
} ht_range;

/* The part inside [0, size) of the window of output position `at`. */
static inline ht_range ht_clip(int32_t at, int32_t stride, int32_t pad, int32_t kernel,
                               int32_t size) {
    const int32_t origin = at * stride - pad;
    const int32_t end = origin + kernel;
    const ht_range range = {origin > 0 ? origin : 0, end < size ? end : size};
    return range;
}

#endif

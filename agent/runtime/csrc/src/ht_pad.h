/* A border around a tensor.
 *
 * A kernel defines CODE, the type of the codes, and KERNEL, its name, before it includes this. */
#include <string.h>

#include "hardtack/ht_kernels.h"
#include "ht_fill.h"

void KERNEL(const CODE *in, ht_dims in_dims, ht_dims before, CODE value, CODE *out,
            ht_dims out_dims) {
    const int32_t elements = out_dims.n * out_dims.h * out_dims.w * out_dims.c;
    HT_FILL(out, value, elements);
    for (int32_t n = 0; n < in_dims.n; n++) {
        for (int32_t h = 0; h < in_dims.h; h++) {
            for (int32_t w = 0; w < in_dims.w; w++) {
                const int32_t row = ((n + before.n) * out_dims.h + h + before.h) * out_dims.w;
                memcpy(out + (row + w + before.w) * out_dims.c + before.c, in,
                       (size_t)in_dims.c * sizeof(CODE));
                in += in_dims.c;
            }
        }
    }
}

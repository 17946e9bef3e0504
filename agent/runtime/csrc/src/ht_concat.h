/* Columns of one input.
 *
 * A kernel defines CODE, the type of the codes, and KERNEL, its name, before it includes this. */
#include <string.h>

#include "hardtack/ht_kernels.h"

void KERNEL(const CODE *in, int32_t outer, int32_t n, CODE *out, int32_t row) {
    for (int32_t i = 0; i < outer; i++) {
        memcpy(out, in, (size_t)n * sizeof(CODE));
        in += n;
        out += row;
    }
}

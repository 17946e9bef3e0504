/* Axes in another order.
 *
 * A kernel defines CODE, the type of the codes, and KERNEL, its name, before it includes this. */
#include "hardtack/ht_kernels.h"

void KERNEL(const CODE *in, ht_dims in_dims, const int32_t perm[4], CODE *out) {
    const int32_t dims[4] = {in_dims.n, in_dims.h, in_dims.w, in_dims.c};
    const int32_t steps[4] = {in_dims.h * in_dims.w * in_dims.c, in_dims.w * in_dims.c, in_dims.c,
                              1};
    for (int32_t a = 0; a < dims[perm[0]]; a++) {
        for (int32_t b = 0; b < dims[perm[1]]; b++) {
            for (int32_t c = 0; c < dims[perm[2]]; c++) {
                const CODE *row = in + a * steps[perm[0]] + b * steps[perm[1]] + c * steps[perm[2]];
                for (int32_t d = 0; d < dims[perm[3]]; d++) {
                    *out++ = row[d * steps[perm[3]]];
                }
            }
        }
    }
}

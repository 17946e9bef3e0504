/* Means over the middle axis.
 *
 * A kernel defines CODE, the type of the codes, and KERNEL, its name, before it includes this. */
#include "hardtack/ht_kernels.h"
#include "ht_requantize.h"

void KERNEL(const CODE *in, const ht_mean_params *params, CODE *out) {
    const int32_t plane = params->count * params->inner;
    for (int32_t o = 0; o < params->outer; o++) {
        for (int32_t i = 0; i < params->inner; i++) {
            const CODE *codes = in + o * plane + i;
            int32_t sum = -params->count * params->in_zero;
            for (int32_t k = 0; k < params->count; k++) {
                sum += codes[k * params->inner];
            }
            const int32_t scaled = ht_requantize(sum, params->mult, params->shift);
            *out++ = (CODE)ht_clamp(ht_add_wrapping(scaled, params->out_zero), HT_LEAST_CODE(CODE),
                                    HT_LARGEST_CODE(CODE));
        }
    }
}

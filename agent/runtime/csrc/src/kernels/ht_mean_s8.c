#include "../ht_requantize.h"
#include "hardtack/ht_kernels.h"

void ht_mean_s8(const int8_t *in, const ht_mean_params *params, int8_t *out) {
    const int32_t plane = params->count * params->inner;
    for (int32_t o = 0; o < params->outer; o++) {
        for (int32_t i = 0; i < params->inner; i++) {
            const int8_t *codes = in + o * plane + i;
            int32_t sum = -params->count * params->in_zero;
            for (int32_t k = 0; k < params->count; k++) {
                sum += codes[k * params->inner];
            }
            const int32_t scaled = ht_requantize(sum, params->mult, params->shift);
            *out++ = ht_clamp_s8(ht_add_wrapping(scaled, params->out_zero), -128, 127);
        }
    }
}

#include "../ht_requantize.h"
#include "hardtack/ht_kernels.h"

void ht_rescale(const int8_t *in, int32_t in_size, int32_t in_zero, const ht_output_stage *stage,
                int8_t *out, int32_t n) {
    const int16_t *wide_in = (const int16_t *)(const void *)in;
    int16_t *wide_out = (int16_t *)(void *)out;
    for (int32_t i = 0; i < n; i++) {
        const int32_t x = (in_size == 2 ? wide_in[i] : in[i]) - in_zero;
        const int32_t scaled = ht_requantize(x, stage->mult[0], stage->shift[0]);
        const int32_t code =
            ht_clamp(ht_add_wrapping(scaled, stage->out_zero), stage->act_min, stage->act_max);
        if (stage->out_size == 2) {
            wide_out[i] = (int16_t)code;
        } else {
            out[i] = (int8_t)code;
        }
    }
}

#include "../ht_requantize.h"
#include "../ht_vector.h"
#include "hardtack/ht_kernels.h"

HT_INLINE int8_t finish(const ht_output_stage *stage, int32_t acc, int32_t channel) {
    const int32_t i = stage->per_channel ? channel : 0;
    const int32_t scaled = ht_requantize(acc, stage->mult[i], stage->shift[i]);
    return ht_clamp_s8(ht_add_wrapping(scaled, stage->out_zero), stage->act_min, stage->act_max);
}

HT_MULTIARCH
void ht_fully_connected_s8(const int8_t *in, const int8_t *weights, const int32_t *bias,
                           const ht_output_stage *stage, int8_t *out, int32_t rows, int32_t n_in,
                           int32_t n_out) {
    for (int32_t row = 0; row < rows; row++) {
        int32_t o = 0;
        for (; o + 4 <= n_out; o += 4) {
            int32_t acc[4] = {bias[o], bias[o + 1], bias[o + 2], bias[o + 3]};
            ht_dot4_s8(in, weights + o * n_in, n_in, n_in, acc);
            for (int32_t k = 0; k < 4; k++) {
                out[o + k] = finish(stage, acc[k], o + k);
            }
        }
        for (; o < n_out; o++) {
            out[o] = finish(stage, bias[o] + ht_dot_s8(in, weights + o * n_in, n_in), o);
        }
        in += n_in;
        out += n_out;
    }
}

#include "../ht_requantize.h"
#include "../ht_vector.h"
#include "hardtack/ht_kernels.h"

HT_INLINE int8_t finish(const ht_output_stage *stage, int32_t acc, int32_t channel) {
    const int32_t i = stage->per_channel ? channel : 0;
    const int32_t scaled = ht_requantize(acc, stage->mult[i], stage->shift[i]);
    return ht_clamp_s8(ht_add_wrapping(scaled, stage->out_zero), stage->act_min, stage->act_max);
}

/* acc[0..lanes) += lanes rows of weights . in, which is also in `wide` when it fits there. */
HT_INLINE void dot_rows(const int8_t *in, const int8_t *weights, int32_t n_in, int32_t lanes,
                        const int16_t *wide, int32_t *acc) {
    if (n_in > HT_WINDOW_TAPS && lanes == 4) {
        ht_dot4_s8(in, weights, n_in, n_in, acc);
    } else if (n_in > HT_WINDOW_TAPS) {
        acc[0] += ht_dot_s8(in, weights, n_in);
    } else if (lanes == 4) {
        ht_dot4_s16(wide, weights, n_in, n_in, acc);
    } else {
        acc[0] += ht_dot_s16(wide, weights, n_in);
    }
}

HT_MULTIARCH
void ht_fully_connected_s8(const int8_t *in, const int8_t *weights, const int32_t *bias,
                           const ht_output_stage *stage, int8_t *out, int32_t rows, int32_t n_in,
                           int32_t n_out) {
    int16_t wide[HT_WINDOW_TAPS];
    for (int32_t row = 0; row < rows; row++) {
        if (n_in <= HT_WINDOW_TAPS) {
            ht_widen_s8(in, n_in, wide);
        }
        for (int32_t o = 0; o < n_out;) {
            const int32_t lanes = n_out - o >= 4 ? 4 : 1;
            int32_t acc[4];
            for (int32_t k = 0; k < lanes; k++) {
                acc[k] = bias[o + k];
            }
            dot_rows(in, weights + o * n_in, n_in, lanes, wide, acc);
            for (int32_t k = 0; k < lanes; k++) {
                out[o + k] = finish(stage, acc[k], o + k);
            }
            o += lanes;
        }
        in += n_in;
        out += n_out;
    }
}

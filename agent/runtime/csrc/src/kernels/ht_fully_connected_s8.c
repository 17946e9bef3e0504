#include "../ht_vector.h"
#include "hardtack/ht_kernels.h"

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
        for (int32_t first = 0; first < n_out; first += HT_LANES) {
            const int32_t lanes = n_out - first < HT_LANES ? n_out - first : HT_LANES;
            int32_t acc[HT_LANES];
            for (int32_t k = 0; k < lanes; k++) {
                acc[k] = bias[first + k];
            }
            for (int32_t k = 0; k < lanes;) {
                const int32_t step = lanes - k >= 4 ? 4 : 1;
                dot_rows(in, weights + (first + k) * n_in, n_in, step, wide, acc + k);
                k += step;
            }
            ht_finish_s8(stage, acc, first, lanes, out + first);
        }
        in += n_in;
        out += n_out;
    }
}

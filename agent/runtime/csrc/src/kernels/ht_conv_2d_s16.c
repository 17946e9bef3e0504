#include "../ht_vector_s16.h"

#define CODE int16_t
#define COPY_TAPS ht_copy_taps_s16
#define FILL_TAPS ht_fill_taps
#include "../ht_conv_dense.h"

HT_MULTIARCH
void ht_conv_2d_s16(const int16_t *in, ht_dims in_dims, const int8_t *weights, int32_t group_c,
                    const int32_t *bias, const ht_window *window, int32_t in_zero,
                    const ht_output_stage *stage, int8_t *out, ht_dims out_dims) {
    const job j = {in, window, in_dims, group_c, in_zero};
    const int32_t filter = window->kernel_h * window->kernel_w * group_c;
    const block b = {weights, NULL, NULL, bias, stage, filter, out_dims.c, HT_LANES};
    convolve(&j, &b, out_dims, out);
}

#include "../ht_conv_dense.h"
#include "hardtack/ht_kernels.h"

HT_STATIC_ASSERT(a_window_is_whole_blocks, HT_WINDOW_TAPS % HT_SPARSE_TAPS == 0);

HT_MULTIARCH
void ht_conv_2d_split_s8(const int8_t *in, ht_dims in_dims, const int8_t *low, const uint8_t *high,
                         const int32_t *bias, const ht_window *window, int32_t in_zero,
                         const ht_output_stage *stage, int8_t *out, ht_dims out_dims) {
    const job j = {in, window, in_dims, in_dims.c, in_zero};
    const int32_t filter = window->kernel_h * window->kernel_w * in_dims.c;
    const block b = {low, NULL, high, bias, stage, filter, out_dims.c, HT_SPARSE_ROWS};
    convolve(&j, &b, out_dims, out);
}

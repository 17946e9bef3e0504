#include "hardtack/ht_kernels.h"

/* Rows are the pixels of an image one high: a convolution of 1 x 1. */
void ht_fully_connected_s8(ht_conv_2d_kernel *kernel, const int8_t *in, const int8_t *weights,
                           const int32_t *bias, const ht_output_stage *stage, int8_t *out,
                           int32_t rows, int32_t n_in, int32_t n_out) {
    const ht_dims in_dims = {1, 1, rows, n_in};
    const ht_dims out_dims = {1, 1, rows, n_out};
    const ht_window window = {1, 1, 1, 1, 1, 1, 0, 0};
    kernel(in, in_dims, weights, n_in, bias, &window, 0, stage, out, out_dims);
}

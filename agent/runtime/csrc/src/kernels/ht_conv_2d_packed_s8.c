#include "../ht_vector.h"

#ifdef HT_PAIRS
#define COPY_TAPS ht_copy_in_order
#define FILL_TAPS ht_fill_in_order
#endif
#include "../ht_conv_dense.h"
#include "hardtack/ht_kernels.h"

HT_MULTIARCH
void ht_conv_2d_packed_s8(const int8_t *in, ht_dims in_dims, const int8_t *weights, int32_t group_c,
                          const int32_t *bias, const ht_window *window, int32_t in_zero,
                          const ht_output_stage *stage, int8_t *out, ht_dims out_dims) {
    const job j = {in, window, in_dims, group_c, in_zero};
    const int32_t filter = window->kernel_h * window->kernel_w * group_c;
    ht_expansion expansion;
    ht_expansion_start(&expansion, (const uint8_t *)weights, filter);
    const block b = {NULL, &expansion, NULL, bias, stage, filter, out_dims.c, HT_LANES};
    convolve(&j, &b, out_dims, out);
}

/* Apart from what depthwise_conv_2d needs, whose firmware links no other kernel. */
#include "ht_weighted.h"

void ht_convolve(const ht_weighted *data, ht_dims in_dims, int32_t group_c, const ht_window *window,
                 int32_t in_zero, ht_dims out_dims) {
    if (data->high != NULL) {
        ht_split->kernel(data->in, in_dims, data->weights, data->high, data->bias, window, in_zero,
                         &data->stage, data->out, out_dims);
        return;
    }
    const ht_tensor *weights = &data->weights_tensor;
    ht_conv_2d_kernel *kernel =
        ht_is_in_place(weights) ? ht_in_place[weights->coding - HT_SPARSE]->kernel : ht_conv_2d_s8;
    kernel(data->in, in_dims, data->weights, group_c, data->bias, window, in_zero, &data->stage,
           data->out, out_dims);
}

#include "ht_weighted.h"

void ht_convolve_s16(const ht_weighted *data, ht_dims in_dims, int32_t group_c,
                     const ht_window *window, int32_t in_zero, ht_dims out_dims) {
    if (data->in_tensor.dtype == HT_INT8) {
        ht_conv_2d_s8_s16(data->in, in_dims, data->weights, group_c, data->bias, window, in_zero,
                          &data->stage, data->out, out_dims);
        return;
    }
    ht_conv_2d_s16((const int16_t *)(const void *)data->in, in_dims, data->weights, group_c,
                   data->bias, window, in_zero, &data->stage, data->out, out_dims);
}

/* What conv_2d, depthwise_conv_2d and fully_connected share: weights, bias and output stage. */
#ifndef HARDTACK_HT_WEIGHTED_H
#define HARDTACK_HT_WEIGHTED_H

#include "ht_check.h"

/* Fields without a high plane. */
#define HT_CONV_FIELDS 16u
#define HT_DENSE_FIELDS 9u

/* Everything their kernels take but the window. */
typedef struct ht_weighted {
    const int8_t *in;
    const int8_t *weights;
    const uint8_t *high; /* plane of the weights, or NULL */
    const int32_t *bias;
    ht_output_stage stage;
    int8_t *out;
    ht_tensor in_tensor;
    ht_tensor weights_tensor;
    ht_tensor out_tensor;
} ht_weighted;

/* Find the operands; the stage's integers begin at field `first`, behind them is the high plane. */
void ht_weighted_read(ht_model *model, const ht_operator *op, uint32_t first, ht_weighted *data);

/* Check bias, multipliers and shifts of n_out channels: their shapes, */
ht_status ht_weighted_check(const ht_bundle *bundle, const ht_operator *op, int32_t n_out);

/* and their values: scalings in range, and no accumulator that overflows. */
ht_status ht_weighted_check_constants(ht_model *model, const ht_operator *op);

/* Is there a kernel for the weights, of n_out channels, and for their high plane, which field
 * `high` names if there is one? Then check what it reads where it lies. */
ht_status ht_check_kernel(const ht_bundle *bundle, const ht_operator *op, uint32_t high,
                          const ht_tensor *weights, int32_t n_out);

/* Run that kernel. */
void ht_convolve(const ht_weighted *data, ht_dims in_dims, int32_t group_c, const ht_window *window,
                 int32_t in_zero, ht_dims out_dims);

/* A convolution's window, and its fields but their number and those of its channels. What is wide
 * reads or writes int16, or both. */
ht_window ht_conv_window(const ht_operator *op, const ht_tensor *weights);
ht_status ht_conv_check(const ht_bundle *bundle, const ht_operator *op, int is_wide, ht_tensor *in,
                        ht_tensor *weights, ht_tensor *out);

/* Do the channels of a conv_2d, of a depthwise_conv_2d, fit together? */
int ht_conv_2d_fits(const ht_tensor *in, const ht_tensor *weights, const ht_tensor *out);
int ht_depthwise_fits(const ht_tensor *in, const ht_tensor *weights, const ht_tensor *out);

/* All fields of a fully_connected but their number and the kernel's. */
ht_status ht_dense_check(const ht_bundle *bundle, const ht_operator *op, int is_wide,
                         ht_tensor *weights);

/* What is wide: the sum of each output channel's own weights counts. */
ht_status ht_wide_check_constants(ht_model *model, const ht_operator *op, int is_depthwise);

/* Run conv_2d_s16 or fully_connected_s16. */
void ht_convolve_s16(const ht_weighted *data, ht_dims in_dims, int32_t group_c,
                     const ht_window *window, int32_t in_zero, ht_dims out_dims);

/* Are multipliers and shifts in range? */
ht_status ht_check_scalings(ht_model *model, const ht_operator *op);

#endif

/* What conv_2d, depthwise_conv_2d and fully_connected share: weights, bias and output stage. */
#ifndef HARDTACK_HT_WEIGHTED_H
#define HARDTACK_HT_WEIGHTED_H

#include "ht_check.h"

/* Everything their kernels take but the window. */
typedef struct ht_weighted {
    const int8_t *in;
    const int8_t *weights;
    const int32_t *bias;
    ht_output_stage stage;
    int8_t *out;
    ht_tensor in_tensor;
    ht_tensor weights_tensor;
    ht_tensor out_tensor;
} ht_weighted;

/* Find the operands; the stage's integers begin at field `first`. */
void ht_weighted_read(ht_model *model, const ht_operator *op, uint32_t first, ht_weighted *data);

/* Check bias, multipliers and shifts of n_out channels: their shapes, */
ht_status ht_weighted_check(const ht_bundle *bundle, const ht_operator *op, int32_t n_out);

/* and their values: scalings in range, and no accumulator that overflows. */
ht_status ht_weighted_check_constants(ht_model *model, const ht_operator *op);

/* The kernel of conv_2d for weights as they are stored; the depthwise one knows unpacked ones only.
 */
static inline ht_conv_2d_kernel *ht_kernel_for(const ht_tensor *weights) {
    return ht_is_in_place(weights) ? ht_in_place_kernels[weights->coding - HT_SPARSE]
                                   : ht_conv_2d_s8;
}

/* Is there one for these weights of n_out channels? */
ht_status ht_check_kernel(const ht_tensor *weights, int32_t n_out);

/* A convolution's window, and its fields but those of its channels. */
ht_window ht_conv_window(const ht_operator *op, const ht_tensor *weights);
ht_status ht_conv_check(const ht_bundle *bundle, const ht_operator *op, ht_tensor *in,
                        ht_tensor *weights, ht_tensor *out);

#endif

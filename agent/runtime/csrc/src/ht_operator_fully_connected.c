#include "ht_weighted.h"

static ht_status check(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor weights;
    HT_REQUIRE(op->count == HT_DENSE_FIELDS || op->count == HT_DENSE_FIELDS + 1);
    const ht_status status = ht_dense_check(bundle, op, 0, &weights);
    return status == HT_OK ? ht_check_kernel(bundle, op, HT_DENSE_FIELDS, &weights, weights.dims[2])
                           : status;
}

/* Rows are the pixels of an image one high: a convolution of 1 x 1. */
static void run(ht_model *model, const ht_operator *op) {
    ht_weighted data;
    ht_weighted_read(model, op, 6, &data);
    const int32_t n_in = data.weights_tensor.dims[3];
    const int32_t rows = data.in_tensor.elements / n_in;
    const ht_dims in_dims = {1, 1, rows, n_in};
    const ht_dims out_dims = {1, 1, rows, data.weights_tensor.dims[2]};
    const ht_window window = {1, 1, 1, 1, 1, 1, 0, 0};
    ht_convolve(&data, in_dims, n_in, &window, 0, out_dims);
}

const ht_operator_entry ht_operator_fully_connected = {check, ht_weighted_check_constants, run,
                                                       0x21F, 5};

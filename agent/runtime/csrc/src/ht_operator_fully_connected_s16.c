#include "ht_weighted.h"

static ht_status check(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor weights;
    HT_REQUIRE(op->count == HT_DENSE_FIELDS);
    const ht_status status = ht_dense_check(bundle, op, 1, &weights);
    return status == HT_OK && ht_is_in_place(&weights) ? HT_ERR_OPERATOR : status;
}

static ht_status check_constants(ht_model *model, const ht_operator *op) {
    return ht_wide_check_constants(model, op, 0);
}

/* As fully_connected. */
static void run(ht_model *model, const ht_operator *op) {
    ht_weighted data;
    ht_weighted_read(model, op, 6, &data);
    const int32_t n_in = data.weights_tensor.dims[3];
    const int32_t rows = data.in_tensor.elements / n_in;
    const ht_dims in_dims = {1, 1, rows, n_in};
    const ht_dims out_dims = {1, 1, rows, data.weights_tensor.dims[2]};
    const ht_window window = {1, 1, 1, 1, 1, 1, 0, 0};
    ht_convolve_s16(&data, in_dims, n_in, &window, 0, out_dims);
}

const ht_operator_entry ht_operator_fully_connected_s16 = {check, check_constants, run, 0x1F, 5};

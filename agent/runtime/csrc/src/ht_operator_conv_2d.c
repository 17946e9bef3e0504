#include "ht_weighted.h"

static ht_status check(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor in;
    ht_tensor weights;
    ht_tensor out;
    HT_REQUIRE(op->count == HT_CONV_FIELDS || op->count == HT_CONV_FIELDS + 1);
    const ht_status status = ht_conv_check(bundle, op, 0, &in, &weights, &out);
    if (status != HT_OK) {
        return status;
    }
    HT_REQUIRE(ht_conv_2d_fits(&in, &weights, &out));
    HT_REQUIRE(op->count == HT_CONV_FIELDS || in.dims[3] == weights.dims[3]);
    HT_REQUIRE(weights.coding != HT_SPARSE_COLUMNS);
    return ht_check_kernel(bundle, op, HT_CONV_FIELDS, &weights, out.dims[3]);
}

static void run(ht_model *model, const ht_operator *op) {
    ht_weighted data;
    ht_weighted_read(model, op, 13, &data);
    const ht_window window = ht_conv_window(op, &data.weights_tensor);
    ht_convolve(&data, ht_dims_of(&data.in_tensor), data.weights_tensor.dims[3], &window,
                ht_field(op, 12), ht_dims_of(&data.out_tensor));
}

const ht_operator_entry ht_operator_conv_2d = {check, ht_weighted_check_constants, run, 0x1001F, 5};

#include "ht_weighted.h"

static ht_status check(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor in;
    ht_tensor weights;
    ht_tensor out;
    HT_REQUIRE(op->count == HT_CONV_FIELDS);
    const ht_status status = ht_conv_check(bundle, op, 1, &in, &weights, &out);
    if (status != HT_OK) {
        return status;
    }
    HT_REQUIRE(!ht_is_in_place(&weights) && ht_conv_2d_fits(&in, &weights, &out));
    return HT_OK;
}

static ht_status check_constants(ht_model *model, const ht_operator *op) {
    return ht_wide_check_constants(model, op, 0);
}

static void run(ht_model *model, const ht_operator *op) {
    ht_weighted data;
    ht_weighted_read(model, op, 13, &data);
    const ht_window window = ht_conv_window(op, &data.weights_tensor);
    ht_convolve_s16(&data, ht_dims_of(&data.in_tensor), data.weights_tensor.dims[3], &window,
                    ht_field(op, 12), ht_dims_of(&data.out_tensor));
}

const ht_operator_entry ht_operator_conv_2d_s16 = {check, check_constants, run, 0x1F, 5};

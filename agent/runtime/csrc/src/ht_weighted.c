#include "ht_weighted.h"

void ht_weighted_read(ht_model *model, const ht_operator *op, uint32_t first, ht_weighted *data) {
    ht_tensor tensor;
    data->in = ht_operand_data(model, op, 0, &data->in_tensor);
    data->weights = ht_operand_data(model, op, 1, &data->weights_tensor);
    data->bias = ht_operand_data(model, op, 2, &tensor);
    data->stage.mult = ht_operand_data(model, op, 3, &tensor);
    data->stage.per_channel = tensor.elements > 1;
    data->stage.shift = ht_operand_data(model, op, 4, &tensor);
    data->stage.out_zero = ht_field(op, first);
    data->stage.act_min = ht_field(op, first + 1);
    data->stage.act_max = ht_field(op, first + 2);
    data->out = ht_operand_data(model, op, 5, &data->out_tensor);
    data->stage.out_size = ht_code_size(&data->out_tensor);
    const uint32_t high = first + 3;
    data->high = op->count > high ? ht_operand_data(model, op, high, &tensor) : NULL;
}

ht_status ht_weighted_check(const ht_bundle *bundle, const ht_operator *op, int32_t n_out) {
    ht_tensor bias;
    ht_tensor mult;
    ht_tensor shift;
    HT_REQUIRE(ht_is_constant(bundle, op, 2, HT_INT32, &bias) && bias.elements == n_out);
    HT_REQUIRE(ht_is_constant(bundle, op, 3, HT_INT32, &mult));
    HT_REQUIRE(mult.elements == n_out || mult.elements == 1);
    HT_REQUIRE(ht_is_constant(bundle, op, 4, HT_INT8, &shift) && shift.elements == mult.elements);
    return HT_OK;
}

/* What a high plane, the last field if there is one, adds to a sum at most. */
static int64_t most_of_high(ht_model *model, const ht_operator *op, int32_t n_out, int64_t taps) {
    ht_tensor high;
    if (op->count != HT_CONV_FIELDS + 1 && op->count != HT_DENSE_FIELDS + 1) {
        return 0;
    }
    const uint8_t *entries = ht_operand_data(model, op, op->count - 1, &high);
    return (int64_t)ht_split->peak(entries, n_out, (int32_t)taps) << 15;
}

ht_status ht_weighted_check_constants(ht_model *model, const ht_operator *op) {
    ht_tensor tensor;
    ht_tensor weights;
    const int32_t *bias = ht_operand_data(model, op, 2, &tensor);
    const int32_t n_out = tensor.elements;
    (void)ht_operand_data(model, op, 1, &weights);
    const int64_t taps = weights.elements / n_out; /* per output channel */
    const int64_t most = (taps << 14) + most_of_high(model, op, n_out, taps);
    for (int32_t i = 0; i < n_out; i++) {
        const int64_t size = bias[i] < 0 ? -(int64_t)bias[i] : bias[i];
        HT_REQUIRE(size + most <= INT32_MAX);
    }
    return ht_check_scalings(model, op);
}

ht_status ht_check_scalings(ht_model *model, const ht_operator *op) {
    ht_tensor tensor;
    const int32_t *mult = ht_operand_data(model, op, 3, &tensor);
    const int8_t *shift = ht_operand_data(model, op, 4, &tensor);
    for (int32_t i = 0; i < tensor.elements; i++) {
        HT_REQUIRE(ht_is_scaling(mult[i], shift[i]));
    }
    return HT_OK;
}

static int is_plane_of(const ht_tensor *weights, const ht_tensor *high) {
    return high->coding == HT_SPARSE && !ht_is_in_place(weights) &&
           memcmp(high->dims, weights->dims, sizeof high->dims) == 0;
}

static ht_status check_rows(const ht_bundle *bundle, const ht_tensor *stored, int32_t n_out,
                            int (*check)(const uint8_t *, uint32_t, int32_t, int32_t)) {
    const uint8_t *bytes = bundle->section[HT_DATA].bytes + stored->offset;
    HT_REQUIRE(ht_tensor_rows(stored) == n_out);
    HT_REQUIRE(check(bytes, stored->stored_size, n_out, stored->elements / n_out));
    return HT_OK;
}

ht_status ht_check_kernel(const ht_bundle *bundle, const ht_operator *op, uint32_t high,
                          const ht_tensor *weights, int32_t n_out) {
    if (op->count > high) {
        ht_tensor plane;
        HT_REQUIRE(ht_is_weights(bundle, op, high, &plane) && is_plane_of(weights, &plane));
        return ht_split != NULL ? check_rows(bundle, &plane, n_out, ht_split->check)
                                : HT_ERR_NOT_LINKED;
    }
    if (!ht_is_in_place(weights)) {
        return HT_OK;
    }
    const ht_in_place_entry *entry = ht_in_place[weights->coding - HT_SPARSE];
    return entry != NULL ? check_rows(bundle, weights, n_out, entry->check) : HT_ERR_NOT_LINKED;
}

ht_window ht_conv_window(const ht_operator *op, const ht_tensor *weights) {
    const ht_window window = {.kernel_h = weights->dims[1],
                              .kernel_w = weights->dims[2],
                              .stride_h = ht_field(op, 6),
                              .stride_w = ht_field(op, 7),
                              .dilation_h = ht_field(op, 8),
                              .dilation_w = ht_field(op, 9),
                              .pad_top = ht_field(op, 10),
                              .pad_left = ht_field(op, 11)};
    return window;
}

/* Input and output: of int8, or one of them at least of int16. */
static int is_layer(const ht_bundle *bundle, const ht_operator *op, int is_wide, ht_tensor *in,
                    ht_tensor *out) {
    const unsigned types = is_wide ? HT_CODES8 | HT_CODES16 : HT_CODES8;
    return ht_is_unary(bundle, op, op->count, 5, types, in, out) &&
           (!is_wide || in->dtype == HT_INT16 || out->dtype == HT_INT16);
}

int ht_conv_2d_fits(const ht_tensor *in, const ht_tensor *weights, const ht_tensor *out) {
    return in->dims[3] % weights->dims[3] == 0 && out->dims[3] == weights->dims[0] &&
           weights->dims[0] % (in->dims[3] / weights->dims[3]) == 0;
}

int ht_depthwise_fits(const ht_tensor *in, const ht_tensor *weights, const ht_tensor *out) {
    return !ht_is_in_place(weights) && weights->dims[0] == 1 && out->dims[3] == weights->dims[3] &&
           out->dims[3] % in->dims[3] == 0;
}

ht_status ht_dense_check(const ht_bundle *bundle, const ht_operator *op, int is_wide,
                         ht_tensor *weights) {
    ht_tensor in;
    ht_tensor out;
    HT_REQUIRE(is_layer(bundle, op, is_wide, &in, &out));
    HT_REQUIRE(ht_is_weights(bundle, op, 1, weights));
    const int32_t n_out = weights->dims[2];
    const int32_t n_in = weights->dims[3];
    HT_REQUIRE(weights->elements == (int64_t)n_out * n_in && in.elements % n_in == 0);
    HT_REQUIRE((int64_t)(in.elements / n_in) * n_out == out.elements);
    HT_REQUIRE(ht_is_zero_point(ht_field(op, 6), out.dtype));
    HT_REQUIRE(ht_is_clamp(ht_field(op, 7), ht_field(op, 8), out.dtype));
    return ht_weighted_check(bundle, op, n_out);
}

ht_status ht_conv_check(const ht_bundle *bundle, const ht_operator *op, int is_wide, ht_tensor *in,
                        ht_tensor *weights, ht_tensor *out) {
    HT_REQUIRE(is_layer(bundle, op, is_wide, in, out));
    HT_REQUIRE(ht_is_weights(bundle, op, 1, weights));
    const ht_window window = ht_conv_window(op, weights);
    HT_REQUIRE(ht_window_fits(&window, in, out));
    HT_REQUIRE(ht_is_zero_point(ht_field(op, 12), in->dtype));
    HT_REQUIRE(ht_is_zero_point(ht_field(op, 13), out->dtype));
    HT_REQUIRE(ht_is_clamp(ht_field(op, 14), ht_field(op, 15), out->dtype));
    return ht_weighted_check(bundle, op, out->dims[3]);
}

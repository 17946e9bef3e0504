#include "ht_check.h"

static ht_status check(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor in;
    ht_tensor out;
    HT_REQUIRE(op->count == 8);
    HT_REQUIRE(ht_is_activation(bundle, op, 0, HT_CODES8 | HT_CODES16, &in));
    HT_REQUIRE(ht_is_output(bundle, op, 1, HT_CODES8 | HT_CODES16, &out));
    HT_REQUIRE(in.elements == out.elements);
    HT_REQUIRE(!ht_overlap(&in, &out) || ht_same_place(&in, &out));
    HT_REQUIRE(ht_is_zero_point(ht_field(op, 2), in.dtype));
    HT_REQUIRE(ht_is_scaling(ht_field(op, 3), ht_field(op, 4)));
    HT_REQUIRE(ht_is_zero_point(ht_field(op, 5), out.dtype));
    HT_REQUIRE(ht_is_clamp(ht_field(op, 6), ht_field(op, 7), out.dtype));
    return HT_OK;
}

static void run(ht_model *model, const ht_operator *op) {
    ht_tensor in_tensor;
    ht_tensor out_tensor;
    const int8_t *in = ht_operand_data(model, op, 0, &in_tensor);
    int8_t *out = ht_operand_data(model, op, 1, &out_tensor);
    const int32_t mult = ht_field(op, 3);
    const int8_t shift = (int8_t)ht_field(op, 4);
    const ht_output_stage stage = {.mult = &mult,
                                   .shift = &shift,
                                   .per_channel = 0,
                                   .out_zero = ht_field(op, 5),
                                   .act_min = ht_field(op, 6),
                                   .act_max = ht_field(op, 7),
                                   .out_size = ht_code_size(&out_tensor)};
    ht_rescale(in, ht_code_size(&in_tensor), ht_field(op, 2), &stage, out, out_tensor.elements);
}

const ht_operator_entry ht_operator_rescale = {check, NULL, run, 0x1, 1};

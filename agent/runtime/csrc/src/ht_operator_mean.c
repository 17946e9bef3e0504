#include "ht_check.h"

static ht_status check(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor in;
    ht_tensor out;
    HT_REQUIRE(ht_is_unary(bundle, op, 9, 1, &in, &out));
    const int32_t outer = ht_field(op, 2);
    const int32_t count = ht_field(op, 3);
    const int32_t inner = ht_field(op, 4);
    HT_REQUIRE(outer >= 1 && ht_in_range(count, 1, 1 << 22) && inner >= 1);
    HT_REQUIRE((int64_t)outer * inner == out.elements);
    HT_REQUIRE((int64_t)out.elements * count == in.elements);
    HT_REQUIRE(ht_is_code(ht_field(op, 5)) && ht_is_scaling(ht_field(op, 6), ht_field(op, 7)));
    HT_REQUIRE(ht_is_code(ht_field(op, 8)));
    return HT_OK;
}

static void run(ht_model *model, const ht_operator *op) {
    ht_tensor tensor;
    const int8_t *in = ht_operand_data(model, op, 0, &tensor);
    int8_t *out = ht_operand_data(model, op, 1, &tensor);
    const ht_mean_params params = {.outer = ht_field(op, 2),
                                   .count = ht_field(op, 3),
                                   .inner = ht_field(op, 4),
                                   .in_zero = ht_field(op, 5),
                                   .mult = ht_field(op, 6),
                                   .shift = ht_field(op, 7),
                                   .out_zero = ht_field(op, 8)};
    ht_mean_s8(in, &params, out);
}

const ht_operator_entry ht_operator_mean = {check, NULL, run, 0x1, 1};

#include "ht_elementwise.h"

static ht_status check(const ht_bundle *bundle, const ht_operator *op) {
    HT_REQUIRE(op->count == 10 && ht_is_code(ht_field(op, 3)) && ht_is_code(ht_field(op, 4)));
    HT_REQUIRE(ht_is_scaling(ht_field(op, 5), ht_field(op, 6)) && ht_is_code(ht_field(op, 7)));
    HT_REQUIRE(ht_is_clamp(ht_field(op, 8), ht_field(op, 9)));
    return ht_elementwise_check(bundle, op);
}

static void run(ht_model *model, const ht_operator *op) {
    ht_tensor tensor;
    ht_operand operand[2];
    for (uint32_t i = 0; i < 2; i++) {
        operand[i].codes = ht_operand_data(model, op, i, &tensor);
        operand[i].dims = ht_dims_of(&tensor);
        operand[i].zero = ht_field(op, 3 + i);
        operand[i].mult = 0;
        operand[i].shift = 0;
    }
    int8_t *out = ht_operand_data(model, op, 2, &tensor);
    const int32_t mult = ht_field(op, 5);
    const int8_t shift = (int8_t)ht_field(op, 6);
    const ht_output_stage stage = {.mult = &mult,
                                   .shift = &shift,
                                   .per_channel = 0,
                                   .out_zero = ht_field(op, 7),
                                   .act_min = ht_field(op, 8),
                                   .act_max = ht_field(op, 9)};
    ht_mul_s8(&operand[0], &operand[1], &stage, out, ht_dims_of(&tensor));
}

const ht_operator_entry ht_operator_mul = {check, NULL, run, 0x3, 2};

/* Product of two tensors.
 *
 * An operator defines before it includes this: CODE and CODES, the type of its codes, and KERNEL.
 */
#include "ht_elementwise.h"

static ht_status check(const ht_bundle *bundle, const ht_operator *op) {
    HT_REQUIRE(op->count == 10 && ht_is_zero_point(ht_field(op, 3), HT_DTYPE(CODES)) &&
               ht_is_zero_point(ht_field(op, 4), HT_DTYPE(CODES)));
    HT_REQUIRE(ht_is_scaling(ht_field(op, 5), ht_field(op, 6)) &&
               ht_is_zero_point(ht_field(op, 7), HT_DTYPE(CODES)));
    HT_REQUIRE(ht_is_clamp(ht_field(op, 8), ht_field(op, 9), HT_DTYPE(CODES)));
    return ht_elementwise_check(bundle, op, CODES);
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
    CODE *out = ht_operand_data(model, op, 2, &tensor);
    const int32_t mult = ht_field(op, 5);
    const int8_t shift = (int8_t)ht_field(op, 6);
    const ht_output_stage stage = {.mult = &mult,
                                   .shift = &shift,
                                   .per_channel = 0,
                                   .out_zero = ht_field(op, 7),
                                   .act_min = ht_field(op, 8),
                                   .act_max = ht_field(op, 9)};
    KERNEL(&operand[0], &operand[1], &stage, out, ht_dims_of(&tensor));
}

/* Sum of two tensors.
 *
 * An operator defines before it includes this: CODE and CODES, the type of its codes, and KERNEL.
 */
#include "ht_elementwise.h"

static ht_status check(const ht_bundle *bundle, const ht_operator *op) {
    HT_REQUIRE(op->count == 16 && ht_is_zero_point(ht_field(op, 3), HT_DTYPE(CODES)) &&
               ht_is_zero_point(ht_field(op, 6), HT_DTYPE(CODES)));
    HT_REQUIRE(ht_is_scaling(ht_field(op, 4), ht_field(op, 5)));
    HT_REQUIRE(ht_is_scaling(ht_field(op, 7), ht_field(op, 8)));
    HT_REQUIRE(ht_in_range(ht_field(op, 9), 0, sizeof(CODE) == 1 ? 22 : 15) &&
               ht_is_zero_point(ht_field(op, 10), HT_DTYPE(CODES)));
    HT_REQUIRE(ht_is_scaling(ht_field(op, 11), ht_field(op, 12)));
    HT_REQUIRE(ht_is_clamp(ht_field(op, 13), ht_field(op, 14), HT_DTYPE(CODES)));
    HT_REQUIRE(ht_field(op, 15) == 1 || ht_field(op, 15) == -1);
    return ht_elementwise_check(bundle, op, CODES);
}

static void run(ht_model *model, const ht_operator *op) {
    ht_tensor tensor;
    ht_operand operand[2];
    for (uint32_t i = 0; i < 2; i++) {
        operand[i].codes = ht_operand_data(model, op, i, &tensor);
        operand[i].dims = ht_dims_of(&tensor);
        operand[i].zero = ht_field(op, 3 + 3 * i);
        operand[i].mult = ht_field(op, 4 + 3 * i);
        operand[i].shift = ht_field(op, 5 + 3 * i);
    }
    CODE *out = ht_operand_data(model, op, 2, &tensor);
    const ht_add_params params = {.left_shift = ht_field(op, 9),
                                  .out_zero = ht_field(op, 10),
                                  .out_mult = ht_field(op, 11),
                                  .out_shift = ht_field(op, 12),
                                  .act_min = ht_field(op, 13),
                                  .act_max = ht_field(op, 14),
                                  .sign = ht_field(op, 15)};
    KERNEL(&operand[0], &operand[1], &params, out, ht_dims_of(&tensor));
}

/* Means over the middle axis.
 *
 * An operator defines before it includes this: CODE and CODES, the type of its codes, and KERNEL.
 */
#include "ht_check.h"

static ht_status check(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor in;
    ht_tensor out;
    HT_REQUIRE(ht_is_unary(bundle, op, 9, 1, CODES, &in, &out));
    const int32_t outer = ht_field(op, 2);
    const int32_t count = ht_field(op, 3);
    const int32_t inner = ht_field(op, 4);
    HT_REQUIRE(outer >= 1 && ht_in_range(count, 1, HT_MOST_SUMMED(CODE)) && inner >= 1);
    HT_REQUIRE((int64_t)outer * inner == out.elements);
    HT_REQUIRE((int64_t)out.elements * count == in.elements);
    HT_REQUIRE(ht_is_zero_point(ht_field(op, 5), HT_DTYPE(CODES)) &&
               ht_is_scaling(ht_field(op, 6), ht_field(op, 7)));
    HT_REQUIRE(ht_is_zero_point(ht_field(op, 8), HT_DTYPE(CODES)));
    return HT_OK;
}

static void run(ht_model *model, const ht_operator *op) {
    ht_tensor tensor;
    const CODE *in = ht_operand_data(model, op, 0, &tensor);
    CODE *out = ht_operand_data(model, op, 1, &tensor);
    const ht_mean_params params = {.outer = ht_field(op, 2),
                                   .count = ht_field(op, 3),
                                   .inner = ht_field(op, 4),
                                   .in_zero = ht_field(op, 5),
                                   .mult = ht_field(op, 6),
                                   .shift = ht_field(op, 7),
                                   .out_zero = ht_field(op, 8)};
    KERNEL(in, &params, out);
}

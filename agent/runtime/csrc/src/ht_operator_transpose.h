/* Axes in another order.
 *
 * An operator defines before it includes this: CODE and CODES, the type of its codes, and KERNEL.
 */
#include "ht_check.h"

static ht_status check(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor in;
    ht_tensor out;
    HT_REQUIRE(ht_is_unary(bundle, op, 6, 1, CODES, &in, &out));
    unsigned seen = 0;
    for (uint32_t i = 0; i < 4; i++) {
        const int32_t axis = ht_field(op, 2 + i);
        HT_REQUIRE(ht_in_range(axis, 0, 3) && out.dims[i] == in.dims[axis]);
        seen |= 1u << axis;
    }
    HT_REQUIRE(seen == 15);
    return HT_OK;
}

static void run(ht_model *model, const ht_operator *op) {
    ht_tensor in_tensor;
    ht_tensor out_tensor;
    const CODE *in = ht_operand_data(model, op, 0, &in_tensor);
    CODE *out = ht_operand_data(model, op, 1, &out_tensor);
    const int32_t perm[4] = {ht_field(op, 2), ht_field(op, 3), ht_field(op, 4), ht_field(op, 5)};
    KERNEL(in, ht_dims_of(&in_tensor), perm, out);
}

/* A border around a tensor.
 *
 * An operator defines before it includes this: CODE and CODES, the type of its codes, and KERNEL.
 */
#include "ht_check.h"

static ht_status check(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor in;
    ht_tensor out;
    HT_REQUIRE(ht_is_unary(bundle, op, 7, 1, CODES, &in, &out) &&
               ht_is_code(ht_field(op, 6), HT_DTYPE(CODES)));
    for (uint32_t i = 0; i < 4; i++) {
        const int32_t before = ht_field(op, 2 + i);
        HT_REQUIRE(before >= 0 && (int64_t)in.dims[i] + before <= out.dims[i]);
    }
    return HT_OK;
}

static void run(ht_model *model, const ht_operator *op) {
    ht_tensor in_tensor;
    ht_tensor out_tensor;
    const CODE *in = ht_operand_data(model, op, 0, &in_tensor);
    CODE *out = ht_operand_data(model, op, 1, &out_tensor);
    const ht_dims before = {ht_field(op, 2), ht_field(op, 3), ht_field(op, 4), ht_field(op, 5)};
    KERNEL(in, ht_dims_of(&in_tensor), before, (CODE)ht_field(op, 6), out, ht_dims_of(&out_tensor));
}

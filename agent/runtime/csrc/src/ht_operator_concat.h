/* Inputs side by side.
 *
 * An operator defines before it includes this: CODE and CODES, the type of its codes, and KERNEL.
 */
#include "ht_check.h"

static ht_status check(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor out;
    HT_REQUIRE(op->count >= 3 && ht_is_output(bundle, op, 0, CODES, &out));
    const int32_t outer = ht_field(op, 1);
    HT_REQUIRE(outer >= 1);
    int64_t elements = 0;
    for (uint32_t i = 2; i < op->count; i++) {
        ht_tensor in;
        HT_REQUIRE(ht_is_activation(bundle, op, i, CODES, &in));
        HT_REQUIRE(in.elements % outer == 0 && !ht_overlap(&in, &out));
        elements += in.elements;
    }
    HT_REQUIRE(elements == out.elements);
    return HT_OK;
}

static void run(ht_model *model, const ht_operator *op) {
    ht_tensor out_tensor;
    CODE *out = ht_operand_data(model, op, 0, &out_tensor);
    const int32_t outer = ht_field(op, 1);
    for (uint32_t i = 2; i < op->count; i++) {
        ht_tensor in_tensor;
        const CODE *in = ht_operand_data(model, op, i, &in_tensor);
        const int32_t n = in_tensor.elements / outer;
        KERNEL(in, outer, n, out, out_tensor.elements / outer);
        out += n;
    }
}

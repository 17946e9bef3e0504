#include "ht_check.h"

static ht_status check(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor in;
    ht_tensor table;
    ht_tensor out;
    HT_REQUIRE(op->count == 3 && ht_is_activation(bundle, op, 0, HT_CODES8, &in));
    HT_REQUIRE(ht_is_constant(bundle, op, 1, HT_INT8, &table) && table.elements == 256);
    HT_REQUIRE(ht_is_output(bundle, op, 2, HT_CODES8, &out) && in.elements == out.elements);
    HT_REQUIRE(!ht_overlap(&in, &out) || ht_same_place(&in, &out));
    return HT_OK;
}

static void run(ht_model *model, const ht_operator *op) {
    ht_tensor tensor;
    const int8_t *table = ht_operand_data(model, op, 1, &tensor);
    const int8_t *in = ht_operand_data(model, op, 0, &tensor);
    int8_t *out = ht_operand_data(model, op, 2, &tensor);
    ht_lookup_s8(in, table, out, tensor.elements);
}

const ht_operator_entry ht_operator_lookup = {check, NULL, run, 0x3, 2};

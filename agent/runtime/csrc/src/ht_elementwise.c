#include "ht_elementwise.h"

ht_status ht_elementwise_check(const ht_bundle *bundle, const ht_operator *op, unsigned types) {
    ht_tensor operand;
    ht_tensor out;
    HT_REQUIRE(ht_is_output(bundle, op, 2, types, &out));
    for (uint32_t field = 0; field < 2; field++) {
        HT_REQUIRE(ht_is_activation(bundle, op, field, types, &operand));
        HT_REQUIRE(!ht_overlap(&operand, &out) || ht_same_place(&operand, &out));
        for (int i = 0; i < 4; i++) {
            HT_REQUIRE(operand.dims[i] == out.dims[i] || operand.dims[i] == 1);
        }
    }
    return HT_OK;
}

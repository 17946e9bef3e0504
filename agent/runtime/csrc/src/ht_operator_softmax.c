#include "ht_check.h"

static ht_status check(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor in;
    ht_tensor out;
    HT_REQUIRE(ht_is_unary(bundle, op, 7, 1, HT_CODES8, &in, &out));
    const int32_t rows = ht_field(op, 2);
    const int32_t depth = ht_field(op, 3);
    const int32_t shift = ht_field(op, 5);
    const int32_t diff_min = ht_field(op, 6);
    HT_REQUIRE(rows >= 1 && ht_in_range(depth, 1, 4095));
    HT_REQUIRE((int64_t)rows * depth == in.elements && in.elements == out.elements);
    HT_REQUIRE(ht_field(op, 4) >= 0 && ht_in_range(shift, 0, 31) && diff_min <= 0);
    const int64_t largest = diff_min < -255 ? 255 : -(int64_t)diff_min;
    HT_REQUIRE(largest << shift <= (int64_t)1 << 31);
    return HT_OK;
}

static void run(ht_model *model, const ht_operator *op) {
    ht_tensor tensor;
    const int8_t *in = ht_operand_data(model, op, 0, &tensor);
    int8_t *out = ht_operand_data(model, op, 1, &tensor);
    const ht_softmax_params params = {.rows = ht_field(op, 2),
                                      .depth = ht_field(op, 3),
                                      .mult = ht_field(op, 4),
                                      .shift = ht_field(op, 5),
                                      .diff_min = ht_field(op, 6)};
    ht_softmax_s8(in, &params, out);
}

const ht_operator_entry ht_operator_softmax = {check, NULL, run, 0x1, 1};

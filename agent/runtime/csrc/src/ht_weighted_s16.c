/* Sums of wide activations: their weights themselves bound them. */
#include "ht_weighted.h"

/* sum |w| of n weights, `step` apart. */
static int64_t magnitude(const int8_t *weights, int64_t n, int32_t step) {
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const int32_t weight = weights[i * step];
        sum += weight < 0 ? -weight : weight;
    }
    return sum;
}

ht_status ht_wide_check_constants(ht_model *model, const ht_operator *op, int is_depthwise) {
    ht_tensor in;
    ht_tensor tensor;
    ht_tensor weights_tensor;
    (void)ht_operand_data(model, op, 0, &in);
    if (in.dtype == HT_INT8) {
        return ht_weighted_check_constants(model, op);
    }
    const int32_t *bias = ht_operand_data(model, op, 2, &tensor);
    const int8_t *weights = ht_operand_data(model, op, 1, &weights_tensor);
    const int32_t n_out = tensor.elements;
    const int32_t taps = weights_tensor.elements / n_out;
    for (int32_t i = 0; i < n_out; i++) {
        const int8_t *first = weights + (is_depthwise ? i : i * taps);
        const int64_t size = bias[i] < 0 ? -(int64_t)bias[i] : bias[i];
        const int64_t most = magnitude(first, taps, is_depthwise ? n_out : 1) << 15;
        HT_REQUIRE(size + most <= INT32_MAX);
    }
    return ht_check_scalings(model, op);
}

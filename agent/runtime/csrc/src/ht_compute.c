/* From an operator's record to the call of its kernel. Everything has been checked. */
#include "ht_operator.h"

static const int8_t *input_codes(ht_model *model, const ht_operator *op, uint32_t field,
                                 ht_tensor *tensor) {
    return ht_tensor_data(model, (uint32_t)ht_field(op, field), tensor);
}

static int8_t *output_codes(ht_model *model, const ht_operator *op, ht_tensor *tensor) {
    return ht_tensor_data(model, (uint32_t)ht_field(op, ht_output_field(op->opcode)), tensor);
}

/* conv_2d, depthwise_conv_2d and fully_connected share their operands; `first` is the field of
 * out_zero. */
static const int32_t *weighted_stage(ht_model *model, const ht_operator *op, uint32_t first,
                                     ht_output_stage *stage) {
    ht_tensor tensor;
    const int32_t *bias = ht_tensor_data(model, (uint32_t)ht_field(op, 2), &tensor);
    stage->mult = ht_tensor_data(model, (uint32_t)ht_field(op, 3), &tensor);
    stage->per_channel = tensor.elements > 1;
    stage->shift = ht_tensor_data(model, (uint32_t)ht_field(op, 4), &tensor);
    stage->out_zero = ht_field(op, first);
    stage->act_min = ht_field(op, first + 1);
    stage->act_max = ht_field(op, first + 2);
    return bias;
}

static void run_convolution(ht_model *model, const ht_operator *op) {
    ht_tensor in_tensor;
    ht_tensor weights_tensor;
    ht_tensor out_tensor;
    ht_output_stage stage;
    const int8_t *in = input_codes(model, op, 0, &in_tensor);
    const int8_t *weights = input_codes(model, op, 1, &weights_tensor);
    const int32_t *bias = weighted_stage(model, op, 13, &stage);
    int8_t *out = output_codes(model, op, &out_tensor);
    const ht_window window = ht_conv_window(op, &weights_tensor);
    const int32_t in_zero = ht_field(op, 12);
    if (op->opcode == HT_CONV_2D) {
        ht_conv_2d_s8(in, ht_dims_of(&in_tensor), weights, weights_tensor.dims[3], bias, &window,
                      in_zero, &stage, out, ht_dims_of(&out_tensor));
    } else {
        ht_depthwise_conv_2d_s8(in, ht_dims_of(&in_tensor), weights, bias, &window, in_zero, &stage,
                                out, ht_dims_of(&out_tensor));
    }
}

static void run_fully_connected(ht_model *model, const ht_operator *op) {
    ht_tensor in_tensor;
    ht_tensor weights_tensor;
    ht_tensor out_tensor;
    ht_output_stage stage;
    const int8_t *in = input_codes(model, op, 0, &in_tensor);
    const int8_t *weights = input_codes(model, op, 1, &weights_tensor);
    const int32_t *bias = weighted_stage(model, op, 6, &stage);
    int8_t *out = output_codes(model, op, &out_tensor);
    const int32_t n_out = weights_tensor.dims[2];
    const int32_t n_in = weights_tensor.dims[3];
    ht_fully_connected_s8(in, weights, bias, &stage, out, in_tensor.elements / n_in, n_in, n_out);
}

static void run_add(ht_model *model, const ht_operator *op) {
    ht_tensor tensor;
    ht_operand operand[2];
    for (uint32_t i = 0; i < 2; i++) {
        operand[i].codes = input_codes(model, op, i, &tensor);
        operand[i].dims = ht_dims_of(&tensor);
        operand[i].zero = ht_field(op, 3 + 3 * i);
        operand[i].mult = ht_field(op, 4 + 3 * i);
        operand[i].shift = ht_field(op, 5 + 3 * i);
    }
    int8_t *out = output_codes(model, op, &tensor);
    const ht_add_params params = {.left_shift = ht_field(op, 9),
                                  .out_zero = ht_field(op, 10),
                                  .out_mult = ht_field(op, 11),
                                  .out_shift = ht_field(op, 12),
                                  .act_min = ht_field(op, 13),
                                  .act_max = ht_field(op, 14),
                                  .sign = ht_field(op, 15)};
    ht_add_s8(&operand[0], &operand[1], &params, out, ht_dims_of(&tensor));
}

static void run_mul(ht_model *model, const ht_operator *op) {
    ht_tensor tensor;
    ht_operand operand[2];
    for (uint32_t i = 0; i < 2; i++) {
        operand[i].codes = input_codes(model, op, i, &tensor);
        operand[i].dims = ht_dims_of(&tensor);
        operand[i].zero = ht_field(op, 3 + i);
        operand[i].mult = 0;
        operand[i].shift = 0;
    }
    int8_t *out = output_codes(model, op, &tensor);
    const int32_t mult = ht_field(op, 5);
    const int8_t shift = (int8_t)ht_field(op, 6);
    const ht_output_stage stage = {.mult = &mult,
                                   .shift = &shift,
                                   .per_channel = 0,
                                   .out_zero = ht_field(op, 7),
                                   .act_min = ht_field(op, 8),
                                   .act_max = ht_field(op, 9)};
    ht_mul_s8(&operand[0], &operand[1], &stage, out, ht_dims_of(&tensor));
}

static void run_concat(ht_model *model, const ht_operator *op) {
    ht_tensor out_tensor;
    int8_t *out = output_codes(model, op, &out_tensor);
    const int32_t outer = ht_field(op, 1);
    for (uint32_t i = 2; i < op->count; i++) {
        ht_tensor in_tensor;
        const int8_t *in = input_codes(model, op, i, &in_tensor);
        const int32_t n = in_tensor.elements / outer;
        ht_concat_s8(in, outer, n, out, out_tensor.elements / outer);
        out += n;
    }
}

static void run_pad(ht_model *model, const ht_operator *op) {
    ht_tensor in_tensor;
    ht_tensor out_tensor;
    const int8_t *in = input_codes(model, op, 0, &in_tensor);
    int8_t *out = output_codes(model, op, &out_tensor);
    const ht_dims before = {ht_field(op, 2), ht_field(op, 3), ht_field(op, 4), ht_field(op, 5)};
    ht_pad_s8(in, ht_dims_of(&in_tensor), before, (int8_t)ht_field(op, 6), out,
              ht_dims_of(&out_tensor));
}

static void run_pool(ht_model *model, const ht_operator *op) {
    ht_tensor in_tensor;
    ht_tensor out_tensor;
    const int8_t *in = input_codes(model, op, 0, &in_tensor);
    int8_t *out = output_codes(model, op, &out_tensor);
    const ht_window window = ht_pool_window(op);
    if (op->opcode == HT_MAX_POOL_2D) {
        ht_max_pool_2d_s8(in, ht_dims_of(&in_tensor), &window, ht_field(op, 8), ht_field(op, 9),
                          out, ht_dims_of(&out_tensor));
    } else {
        ht_average_pool_2d_s8(in, ht_dims_of(&in_tensor), &window, ht_field(op, 8), ht_field(op, 9),
                              out, ht_dims_of(&out_tensor));
    }
}

static void run_mean(ht_model *model, const ht_operator *op) {
    ht_tensor tensor;
    const int8_t *in = input_codes(model, op, 0, &tensor);
    int8_t *out = output_codes(model, op, &tensor);
    const ht_mean_params params = {.outer = ht_field(op, 2),
                                   .count = ht_field(op, 3),
                                   .inner = ht_field(op, 4),
                                   .in_zero = ht_field(op, 5),
                                   .mult = ht_field(op, 6),
                                   .shift = ht_field(op, 7),
                                   .out_zero = ht_field(op, 8)};
    ht_mean_s8(in, &params, out);
}

static void run_transpose(ht_model *model, const ht_operator *op) {
    ht_tensor in_tensor;
    ht_tensor out_tensor;
    const int8_t *in = input_codes(model, op, 0, &in_tensor);
    int8_t *out = output_codes(model, op, &out_tensor);
    const int32_t perm[4] = {ht_field(op, 2), ht_field(op, 3), ht_field(op, 4), ht_field(op, 5)};
    ht_transpose_s8(in, ht_dims_of(&in_tensor), perm, out);
}

static void run_softmax(ht_model *model, const ht_operator *op) {
    ht_tensor tensor;
    const int8_t *in = input_codes(model, op, 0, &tensor);
    int8_t *out = output_codes(model, op, &tensor);
    const ht_softmax_params params = {.rows = ht_field(op, 2),
                                      .depth = ht_field(op, 3),
                                      .mult = ht_field(op, 4),
                                      .shift = ht_field(op, 5),
                                      .diff_min = ht_field(op, 6)};
    ht_softmax_s8(in, &params, out);
}

static void run_lookup(ht_model *model, const ht_operator *op) {
    ht_tensor tensor;
    const int8_t *table = input_codes(model, op, 1, &tensor);
    const int8_t *in = input_codes(model, op, 0, &tensor);
    int8_t *out = output_codes(model, op, &tensor);
    ht_lookup_s8(in, table, out, tensor.elements);
}

void ht_compute(ht_model *model, const ht_operator *op) {
    switch (op->opcode) {
    case HT_CONV_2D:
    case HT_DEPTHWISE_CONV_2D:
        run_convolution(model, op);
        break;
    case HT_FULLY_CONNECTED:
        run_fully_connected(model, op);
        break;
    case HT_ADD:
        run_add(model, op);
        break;
    case HT_MUL:
        run_mul(model, op);
        break;
    case HT_CONCAT:
        run_concat(model, op);
        break;
    case HT_PAD:
        run_pad(model, op);
        break;
    case HT_MAX_POOL_2D:
    case HT_AVERAGE_POOL_2D:
        run_pool(model, op);
        break;
    case HT_MEAN:
        run_mean(model, op);
        break;
    case HT_TRANSPOSE:
        run_transpose(model, op);
        break;
    case HT_SOFTMAX:
        run_softmax(model, op);
        break;
    default:
        run_lookup(model, op);
        break;
    }
}

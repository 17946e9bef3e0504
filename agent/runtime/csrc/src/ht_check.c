/* What keeps hostile programs inside their memory: each operator's fields, shapes and constants
 * are checked here once, so that kernels need not. */
#include "ht_operator.h"

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            return HT_ERR_OPERATOR;                                                                \
        }                                                                                          \
    } while (0)

/* ---- Tensors */

static int in_range(int32_t value, int32_t low, int32_t high) {
    return value >= low && value <= high;
}

static int is_code(int32_t value) {
    return in_range(value, -128, 127);
}

static int is_clamp(int32_t low, int32_t high) {
    return is_code(low) && is_code(high) && low <= high;
}

static int is_scaling(int32_t mult, int32_t shift) {
    return mult >= 0 && in_range(shift, -31, 30);
}

static int tensor_of(const ht_bundle *bundle, const ht_operator *op, uint32_t field,
                     ht_tensor *tensor) {
    return ht_bundle_tensor(bundle, (uint32_t)ht_field(op, field), tensor) == HT_OK;
}

static int activation(const ht_bundle *bundle, const ht_operator *op, uint32_t field,
                      ht_tensor *tensor) {
    return tensor_of(bundle, op, field, tensor) && tensor->dtype == HT_INT8;
}

static int constant(const ht_bundle *bundle, const ht_operator *op, uint32_t field, ht_dtype dtype,
                    ht_tensor *tensor) {
    return tensor_of(bundle, op, field, tensor) && tensor->dtype == dtype &&
           tensor->place == HT_CONSTANT;
}

static int output(const ht_bundle *bundle, const ht_operator *op, ht_tensor *tensor) {
    return tensor_of(bundle, op, ht_output_field(op->opcode), tensor) && tensor->place == HT_ARENA;
}

static int overlap(const ht_tensor *a, const ht_tensor *b) {
    const uint32_t a_end = a->offset + (uint32_t)a->elements;
    const uint32_t b_end = b->offset + (uint32_t)b->elements;
    return a->place == HT_ARENA && b->place == HT_ARENA && a->offset < b_end && b->offset < a_end;
}

static int same_place(const ht_tensor *a, const ht_tensor *b) {
    return a->offset == b->offset && a->elements == b->elements;
}

/* ---- Windows */

/* One axis: strides, dilations and pads in range; the first window reaches the image, the last
 * begins inside it; no position overflows. */
static int axis_fits(int32_t kernel, int32_t stride, int32_t dilation, int32_t pad, int32_t in,
                     int32_t out) {
    if (kernel < 1 || !in_range(stride, 1, 65535) || !in_range(dilation, 1, 65535) ||
        !in_range(pad, 0, 65535)) {
        return 0;
    }
    const int64_t reach = ((int64_t)kernel - 1) * dilation; /* from the first tap to the last */
    const int64_t last = ((int64_t)out - 1) * stride - pad;
    return reach >= pad && last < in && reach < (1 << 28);
}

static int window_fits(const ht_window *window, const ht_tensor *in, const ht_tensor *out) {
    return in->dims[0] == 1 && out->dims[0] == 1 &&
           axis_fits(window->kernel_h, window->stride_h, window->dilation_h, window->pad_top,
                     in->dims[1], out->dims[1]) &&
           axis_fits(window->kernel_w, window->stride_w, window->dilation_w, window->pad_left,
                     in->dims[2], out->dims[2]);
}

/* ---- Operators */

/* The operands that conv_2d, depthwise_conv_2d and fully_connected share. */
static ht_status check_weighted(const ht_bundle *bundle, const ht_operator *op, int32_t n_out) {
    ht_tensor bias;
    ht_tensor mult;
    ht_tensor shift;
    REQUIRE(constant(bundle, op, 2, HT_INT32, &bias) && bias.elements == n_out);
    REQUIRE(constant(bundle, op, 3, HT_INT32, &mult));
    REQUIRE(mult.elements == n_out || mult.elements == 1);
    REQUIRE(constant(bundle, op, 4, HT_INT8, &shift) && shift.elements == mult.elements);
    return HT_OK;
}

static ht_status check_conv(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor in;
    ht_tensor weights;
    ht_tensor out;
    REQUIRE(op->count == 16 && activation(bundle, op, 0, &in) && output(bundle, op, &out));
    REQUIRE(constant(bundle, op, 1, HT_INT8, &weights) && !overlap(&in, &out));
    const ht_window window = ht_conv_window(op, &weights);
    REQUIRE(window_fits(&window, &in, &out));
    if (op->opcode == HT_CONV_2D) {
        REQUIRE(in.dims[3] % weights.dims[3] == 0 && out.dims[3] == weights.dims[0]);
        REQUIRE(weights.dims[0] % (in.dims[3] / weights.dims[3]) == 0);
    } else {
        REQUIRE(weights.dims[0] == 1 && out.dims[3] == weights.dims[3]);
        REQUIRE(out.dims[3] % in.dims[3] == 0);
    }
    REQUIRE(is_code(ht_field(op, 12)) && is_code(ht_field(op, 13)));
    REQUIRE(is_clamp(ht_field(op, 14), ht_field(op, 15)));
    return check_weighted(bundle, op, out.dims[3]);
}

static ht_status check_fully_connected(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor in;
    ht_tensor weights;
    ht_tensor out;
    REQUIRE(op->count == 9 && activation(bundle, op, 0, &in) && output(bundle, op, &out));
    REQUIRE(constant(bundle, op, 1, HT_INT8, &weights) && !overlap(&in, &out));
    const int32_t n_out = weights.dims[2];
    const int32_t n_in = weights.dims[3];
    REQUIRE(weights.elements == (int64_t)n_out * n_in && in.elements % n_in == 0);
    REQUIRE((int64_t)(in.elements / n_in) * n_out == out.elements);
    REQUIRE(is_code(ht_field(op, 6)) && is_clamp(ht_field(op, 7), ht_field(op, 8)));
    return check_weighted(bundle, op, n_out);
}

/* Operands of add and mul: each dim is the output's, or 1 and repeated. */
static ht_status check_elementwise(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor a;
    ht_tensor b;
    ht_tensor out;
    REQUIRE(activation(bundle, op, 0, &a) && activation(bundle, op, 1, &b));
    REQUIRE(output(bundle, op, &out));
    REQUIRE(!overlap(&a, &out) || same_place(&a, &out));
    REQUIRE(!overlap(&b, &out) || same_place(&b, &out));
    for (int i = 0; i < 4; i++) {
        REQUIRE(a.dims[i] == out.dims[i] || a.dims[i] == 1);
        REQUIRE(b.dims[i] == out.dims[i] || b.dims[i] == 1);
    }
    return HT_OK;
}

static ht_status check_add(const ht_bundle *bundle, const ht_operator *op) {
    REQUIRE(op->count == 16 && is_code(ht_field(op, 3)) && is_code(ht_field(op, 6)));
    REQUIRE(is_scaling(ht_field(op, 4), ht_field(op, 5)));
    REQUIRE(is_scaling(ht_field(op, 7), ht_field(op, 8)));
    REQUIRE(in_range(ht_field(op, 9), 0, 22) && is_code(ht_field(op, 10)));
    REQUIRE(is_scaling(ht_field(op, 11), ht_field(op, 12)));
    REQUIRE(is_clamp(ht_field(op, 13), ht_field(op, 14)));
    REQUIRE(ht_field(op, 15) == 1 || ht_field(op, 15) == -1);
    return check_elementwise(bundle, op);
}

static ht_status check_mul(const ht_bundle *bundle, const ht_operator *op) {
    REQUIRE(op->count == 10 && is_code(ht_field(op, 3)) && is_code(ht_field(op, 4)));
    REQUIRE(is_scaling(ht_field(op, 5), ht_field(op, 6)) && is_code(ht_field(op, 7)));
    REQUIRE(is_clamp(ht_field(op, 8), ht_field(op, 9)));
    return check_elementwise(bundle, op);
}

static ht_status check_concat(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor out;
    REQUIRE(op->count >= 3 && output(bundle, op, &out));
    const int32_t outer = ht_field(op, 1);
    REQUIRE(outer >= 1);
    int64_t elements = 0;
    for (uint32_t i = 2; i < op->count; i++) {
        ht_tensor in;
        REQUIRE(activation(bundle, op, i, &in) && in.elements % outer == 0 && !overlap(&in, &out));
        elements += in.elements;
    }
    REQUIRE(elements == out.elements);
    return HT_OK;
}

static ht_status check_pad(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor in;
    ht_tensor out;
    REQUIRE(op->count == 7 && activation(bundle, op, 0, &in) && output(bundle, op, &out));
    REQUIRE(!overlap(&in, &out) && is_code(ht_field(op, 6)));
    for (uint32_t i = 0; i < 4; i++) {
        const int32_t before = ht_field(op, 2 + i);
        REQUIRE(before >= 0 && (int64_t)in.dims[i] + before <= out.dims[i]);
    }
    return HT_OK;
}

static ht_status check_pool(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor in;
    ht_tensor out;
    REQUIRE(op->count == 10 && activation(bundle, op, 0, &in) && output(bundle, op, &out));
    REQUIRE(!overlap(&in, &out) && in.dims[3] == out.dims[3]);
    const ht_window window = ht_pool_window(op);
    REQUIRE(window_fits(&window, &in, &out));
    REQUIRE((int64_t)window.kernel_h * window.kernel_w <= 1 << 22);
    REQUIRE(is_clamp(ht_field(op, 8), ht_field(op, 9)));
    return HT_OK;
}

static ht_status check_mean(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor in;
    ht_tensor out;
    REQUIRE(op->count == 9 && activation(bundle, op, 0, &in) && output(bundle, op, &out));
    const int32_t outer = ht_field(op, 2);
    const int32_t count = ht_field(op, 3);
    const int32_t inner = ht_field(op, 4);
    REQUIRE(!overlap(&in, &out) && outer >= 1 && in_range(count, 1, 1 << 22) && inner >= 1);
    REQUIRE((int64_t)outer * inner == out.elements);
    REQUIRE((int64_t)out.elements * count == in.elements);
    REQUIRE(is_code(ht_field(op, 5)) && is_scaling(ht_field(op, 6), ht_field(op, 7)));
    REQUIRE(is_code(ht_field(op, 8)));
    return HT_OK;
}

static ht_status check_transpose(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor in;
    ht_tensor out;
    REQUIRE(op->count == 6 && activation(bundle, op, 0, &in) && output(bundle, op, &out));
    REQUIRE(!overlap(&in, &out));
    unsigned seen = 0;
    for (uint32_t i = 0; i < 4; i++) {
        const int32_t axis = ht_field(op, 2 + i);
        REQUIRE(in_range(axis, 0, 3) && out.dims[i] == in.dims[axis]);
        seen |= 1u << axis;
    }
    REQUIRE(seen == 15);
    return HT_OK;
}

static ht_status check_softmax(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor in;
    ht_tensor out;
    REQUIRE(op->count == 7 && activation(bundle, op, 0, &in) && output(bundle, op, &out));
    const int32_t rows = ht_field(op, 2);
    const int32_t depth = ht_field(op, 3);
    const int32_t shift = ht_field(op, 5);
    const int32_t diff_min = ht_field(op, 6);
    REQUIRE(!overlap(&in, &out) && rows >= 1 && in_range(depth, 1, 4095));
    REQUIRE((int64_t)rows * depth == in.elements && in.elements == out.elements);
    REQUIRE(ht_field(op, 4) >= 0 && in_range(shift, 0, 31) && diff_min <= 0);
    const int64_t largest = diff_min < -255 ? 255 : -(int64_t)diff_min;
    REQUIRE(largest << shift <= (int64_t)1 << 31);
    return HT_OK;
}

static ht_status check_lookup(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor in;
    ht_tensor table;
    ht_tensor out;
    REQUIRE(op->count == 3 && activation(bundle, op, 0, &in) && output(bundle, op, &out));
    REQUIRE(constant(bundle, op, 1, HT_INT8, &table) && table.elements == 256);
    REQUIRE(in.elements == out.elements);
    REQUIRE(!overlap(&in, &out) || same_place(&in, &out));
    return HT_OK;
}

ht_status ht_check_operator(const ht_bundle *bundle, const ht_operator *op) {
    switch (op->opcode) {
    case HT_CONV_2D:
    case HT_DEPTHWISE_CONV_2D:
        return check_conv(bundle, op);
    case HT_FULLY_CONNECTED:
        return check_fully_connected(bundle, op);
    case HT_ADD:
        return check_add(bundle, op);
    case HT_MUL:
        return check_mul(bundle, op);
    case HT_CONCAT:
        return check_concat(bundle, op);
    case HT_PAD:
        return check_pad(bundle, op);
    case HT_MAX_POOL_2D:
    case HT_AVERAGE_POOL_2D:
        return check_pool(bundle, op);
    case HT_MEAN:
        return check_mean(bundle, op);
    case HT_TRANSPOSE:
        return check_transpose(bundle, op);
    case HT_SOFTMAX:
        return check_softmax(bundle, op);
    case HT_LOOKUP:
        return check_lookup(bundle, op);
    default:
        return HT_ERR_OPCODE;
    }
}

/* ---- Values */

ht_status ht_check_constants(ht_model *model, const ht_operator *op) {
    if (op->opcode != HT_CONV_2D && op->opcode != HT_DEPTHWISE_CONV_2D &&
        op->opcode != HT_FULLY_CONNECTED) {
        return HT_OK;
    }
    ht_tensor tensor;
    const int32_t *bias = ht_tensor_data(model, (uint32_t)ht_field(op, 2), &tensor);
    const int32_t n_out = tensor.elements;
    ht_tensor weights;
    (void)ht_tensor_data(model, (uint32_t)ht_field(op, 1), &weights);
    const int64_t taps = weights.elements / n_out; /* per output channel */
    for (int32_t i = 0; i < n_out; i++) {
        const int64_t size = bias[i] < 0 ? -(int64_t)bias[i] : bias[i];
        REQUIRE(size + (taps << 14) <= INT32_MAX);
    }
    const int32_t *mult = ht_tensor_data(model, (uint32_t)ht_field(op, 3), &tensor);
    const int8_t *shift = ht_tensor_data(model, (uint32_t)ht_field(op, 4), &tensor);
    for (int32_t i = 0; i < tensor.elements; i++) {
        REQUIRE(is_scaling(mult[i], shift[i]));
    }
    return HT_OK;
}

#include "ht_check.h"

/* ---- Tensors */

static int tensor_of(const ht_bundle *bundle, const ht_operator *op, uint32_t field,
                     ht_tensor *tensor) {
    return ht_bundle_tensor(bundle, (uint32_t)ht_field(op, field), tensor) == HT_OK;
}

int ht_is_activation(const ht_bundle *bundle, const ht_operator *op, uint32_t field, unsigned types,
                     ht_tensor *tensor) {
    return tensor_of(bundle, op, field, tensor) && (types >> tensor->dtype & 1u) != 0 &&
           !ht_is_in_place(tensor);
}

int ht_is_weights(const ht_bundle *bundle, const ht_operator *op, uint32_t field,
                  ht_tensor *tensor) {
    return tensor_of(bundle, op, field, tensor) && tensor->dtype == HT_INT8 &&
           tensor->place == HT_CONSTANT;
}

int ht_is_constant(const ht_bundle *bundle, const ht_operator *op, uint32_t field, ht_dtype dtype,
                   ht_tensor *tensor) {
    return tensor_of(bundle, op, field, tensor) && tensor->dtype == dtype &&
           tensor->place == HT_CONSTANT && !ht_is_in_place(tensor);
}

int ht_is_output(const ht_bundle *bundle, const ht_operator *op, uint32_t field, unsigned types,
                 ht_tensor *tensor) {
    return tensor_of(bundle, op, field, tensor) && (types >> tensor->dtype & 1u) != 0 &&
           tensor->place == HT_ARENA;
}

int ht_overlap(const ht_tensor *a, const ht_tensor *b) {
    const uint32_t a_end = a->offset + ht_tensor_bytes(a);
    const uint32_t b_end = b->offset + ht_tensor_bytes(b);
    return a->place == HT_ARENA && b->place == HT_ARENA && a->offset < b_end && b->offset < a_end;
}

int ht_same_place(const ht_tensor *a, const ht_tensor *b) {
    return a->offset == b->offset && a->elements == b->elements && a->dtype == b->dtype;
}

int ht_is_unary(const ht_bundle *bundle, const ht_operator *op, uint32_t count, uint32_t output,
                unsigned types, ht_tensor *in, ht_tensor *out) {
    return op->count == count && ht_is_activation(bundle, op, 0, types, in) &&
           ht_is_output(bundle, op, output, types, out) && !ht_overlap(in, out);
}

/* ---- Windows */

/* One axis: the first window reaches the image, the last begins inside it. */
static int axis_fits(int32_t kernel, int32_t stride, int32_t dilation, int32_t pad, int32_t in,
                     int32_t out) {
    if (kernel < 1 || !ht_in_range(stride, 1, 65535) || !ht_in_range(dilation, 1, 65535) ||
        !ht_in_range(pad, 0, 65535)) {
        return 0;
    }
    const int64_t reach = ((int64_t)kernel - 1) * dilation; /* from the first tap to the last */
    const int64_t last = ((int64_t)out - 1) * stride - pad;
    return reach >= pad && last < in && reach < (1 << 28);
}

int ht_window_fits(const ht_window *window, const ht_tensor *in, const ht_tensor *out) {
    return in->dims[0] == 1 && out->dims[0] == 1 &&
           axis_fits(window->kernel_h, window->stride_h, window->dilation_h, window->pad_top,
                     in->dims[1], out->dims[1]) &&
           axis_fits(window->kernel_w, window->stride_w, window->dilation_w, window->pad_left,
                     in->dims[2], out->dims[2]);
}

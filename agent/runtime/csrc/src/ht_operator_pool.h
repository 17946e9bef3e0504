/* max_pool_2d and average_pool_2d.
 *
 * An operator defines before it includes this: CODE and CODES, the type of its codes, and KERNEL.
 */
#include "ht_check.h"

static ht_window window_of(const ht_operator *op) {
    const ht_window window = {.kernel_h = ht_field(op, 2),
                              .kernel_w = ht_field(op, 3),
                              .stride_h = ht_field(op, 4),
                              .stride_w = ht_field(op, 5),
                              .dilation_h = 1,
                              .dilation_w = 1,
                              .pad_top = ht_field(op, 6),
                              .pad_left = ht_field(op, 7)};
    return window;
}

static ht_status check(const ht_bundle *bundle, const ht_operator *op) {
    ht_tensor in;
    ht_tensor out;
    HT_REQUIRE(ht_is_unary(bundle, op, 10, 1, CODES, &in, &out) && in.dims[3] == out.dims[3]);
    const ht_window window = window_of(op);
    HT_REQUIRE(ht_window_fits(&window, &in, &out));
    HT_REQUIRE((int64_t)window.kernel_h * window.kernel_w <= HT_MOST_SUMMED(CODE));
    HT_REQUIRE(ht_is_clamp(ht_field(op, 8), ht_field(op, 9), HT_DTYPE(CODES)));
    return HT_OK;
}

static void run(ht_model *model, const ht_operator *op) {
    ht_tensor in_tensor;
    ht_tensor out_tensor;
    const CODE *in = ht_operand_data(model, op, 0, &in_tensor);
    CODE *out = ht_operand_data(model, op, 1, &out_tensor);
    const ht_window window = window_of(op);
    KERNEL(in, ht_dims_of(&in_tensor), &window, ht_field(op, 8), ht_field(op, 9), out,
           ht_dims_of(&out_tensor));
}

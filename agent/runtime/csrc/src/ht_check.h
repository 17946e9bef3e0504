/* What keeps hostile programs inside their memory: each operator checks its fields, shapes and
 * constants once with these, so that kernels need not. */
#ifndef HARDTACK_HT_CHECK_H
#define HARDTACK_HT_CHECK_H

#include "ht_operator.h"

#define HT_REQUIRE(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            return HT_ERR_OPERATOR;                                                                \
        }                                                                                          \
    } while (0)

static inline int ht_in_range(int32_t value, int32_t low, int32_t high) {
    return value >= low && value <= high;
}

static inline int ht_is_code(int32_t value) {
    return ht_in_range(value, -128, 127);
}

static inline int ht_is_clamp(int32_t low, int32_t high) {
    return ht_is_code(low) && ht_is_code(high) && low <= high;
}

static inline int ht_is_scaling(int32_t mult, int32_t shift) {
    return mult >= 0 && ht_in_range(shift, -31, 30);
}

/* Does the field name an int8 tensor, a constant of the type, a tensor of the arena? Those coded to
 * be used where they lie are none of these, */
int ht_is_activation(const ht_bundle *bundle, const ht_operator *op, uint32_t field,
                     ht_tensor *tensor);
int ht_is_constant(const ht_bundle *bundle, const ht_operator *op, uint32_t field, ht_dtype dtype,
                   ht_tensor *tensor);
/* but may be weights, int8 and constant. */
int ht_is_weights(const ht_bundle *bundle, const ht_operator *op, uint32_t field,
                  ht_tensor *tensor);
int ht_is_output(const ht_bundle *bundle, const ht_operator *op, uint32_t field, ht_tensor *tensor);

/* The usual operator: `count` fields, an int8 input, an output that does not overlap it. */
int ht_is_unary(const ht_bundle *bundle, const ht_operator *op, uint32_t count, uint32_t output,
                ht_tensor *in, ht_tensor *out);

int ht_overlap(const ht_tensor *a, const ht_tensor *b);

/* One tensor over the other, byte by byte: what elementwise operators may do. */
int ht_same_place(const ht_tensor *a, const ht_tensor *b);

/* Strides, dilations and pads in range; every window reaches the image; no position overflows. */
int ht_window_fits(const ht_window *window, const ht_tensor *in, const ht_tensor *out);

#endif

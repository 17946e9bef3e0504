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

/* Codes of int16 are symmetric: their zero point is 0, and -32768 is none of them. */
static inline int ht_is_code(int32_t value, uint8_t dtype) {
    return dtype == HT_INT16 ? ht_in_range(value, -32767, 32767) : ht_in_range(value, -128, 127);
}

static inline int ht_is_zero_point(int32_t value, uint8_t dtype) {
    return dtype == HT_INT16 ? value == 0 : ht_is_code(value, dtype);
}

static inline int ht_is_clamp(int32_t low, int32_t high, uint8_t dtype) {
    return ht_is_code(low, dtype) && ht_is_code(high, dtype) && low <= high;
}

static inline int ht_is_scaling(int32_t mult, int32_t shift) {
    return mult >= 0 && ht_in_range(shift, -31, 30);
}

/* Sets of types of activations. */
#define HT_CODES8 (1u << HT_INT8)
#define HT_CODES16 (1u << HT_INT16)
#define HT_DTYPE(types) ((types) == HT_CODES16 ? HT_INT16 : HT_INT8)

/* Codes that a pool or a mean may sum within int32. */
#define HT_MOST_SUMMED(type) (sizeof(type) == 1 ? 1 << 22 : 1 << 15)

/* Does the field name a tensor of one of the types, a constant of the type, a tensor of the arena?
 * Those coded to be used where they lie are none of these, */
int ht_is_activation(const ht_bundle *bundle, const ht_operator *op, uint32_t field, unsigned types,
                     ht_tensor *tensor);
int ht_is_constant(const ht_bundle *bundle, const ht_operator *op, uint32_t field, ht_dtype dtype,
                   ht_tensor *tensor);
/* but may be weights, int8 and constant. */
int ht_is_weights(const ht_bundle *bundle, const ht_operator *op, uint32_t field,
                  ht_tensor *tensor);
int ht_is_output(const ht_bundle *bundle, const ht_operator *op, uint32_t field, unsigned types,
                 ht_tensor *tensor);

/* The usual operator: `count` fields, an input, an output that does not overlap it. */
int ht_is_unary(const ht_bundle *bundle, const ht_operator *op, uint32_t count, uint32_t output,
                unsigned types, ht_tensor *in, ht_tensor *out);

int ht_overlap(const ht_tensor *a, const ht_tensor *b);

/* One tensor over the other, byte by byte: what elementwise operators may do. */
int ht_same_place(const ht_tensor *a, const ht_tensor *b);

/* Strides, dilations and pads in range; every window reaches the image; no position overflows. */
int ht_window_fits(const ht_window *window, const ht_tensor *in, const ht_tensor *out);

#endif

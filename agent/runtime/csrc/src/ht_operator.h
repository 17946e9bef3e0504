/* Operator records of PROG, and what the interpreter's parts share. */
#ifndef HARDTACK_HT_OPERATOR_H
#define HARDTACK_HT_OPERATOR_H

#include "hardtack/ht_interpreter.h"
#include "hardtack/ht_kernels.h"
#include "ht_load.h"

typedef enum ht_opcode {
    HT_CONV_2D = 1,
    HT_DEPTHWISE_CONV_2D = 2,
    HT_FULLY_CONNECTED = 3,
    HT_ADD = 4,
    HT_MUL = 5,
    HT_CONCAT = 6,
    HT_PAD = 7,
    HT_MAX_POOL_2D = 8,
    HT_AVERAGE_POOL_2D = 9,
    HT_MEAN = 10,
    HT_TRANSPOSE = 11,
    HT_SOFTMAX = 12,
    HT_LOOKUP = 13
} ht_opcode;

typedef struct ht_operator {
    uint32_t opcode;       /* ht_opcode */
    uint32_t count;        /* fields */
    const uint8_t *fields; /* int32, in the order of SPEC section 2 */
} ht_operator;

static inline int32_t ht_field(const ht_operator *op, uint32_t index) {
    return load_i32_le(op->fields + 4 * index);
}

static inline ht_dims ht_dims_of(const ht_tensor *tensor) {
    const ht_dims dims = {tensor->dims[0], tensor->dims[1], tensor->dims[2], tensor->dims[3]};
    return dims;
}

/* Which field names the output. */
static inline uint32_t ht_output_field(uint32_t opcode) {
    switch (opcode) {
    case HT_CONV_2D:
    case HT_DEPTHWISE_CONV_2D:
    case HT_FULLY_CONNECTED:
        return 5;
    case HT_ADD:
    case HT_MUL:
    case HT_LOOKUP:
        return 2;
    case HT_CONCAT:
        return 0;
    default:
        return 1;
    }
}

/* The fields of a convolution become its window. */
static inline ht_window ht_conv_window(const ht_operator *op, const ht_tensor *weights) {
    const ht_window window = {.kernel_h = weights->dims[1],
                              .kernel_w = weights->dims[2],
                              .stride_h = ht_field(op, 6),
                              .stride_w = ht_field(op, 7),
                              .dilation_h = ht_field(op, 8),
                              .dilation_w = ht_field(op, 9),
                              .pad_top = ht_field(op, 10),
                              .pad_left = ht_field(op, 11)};
    return window;
}

static inline ht_window ht_pool_window(const ht_operator *op) {
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

/* Read the record at byte `at` of the operators; *next is where the following one begins. */
ht_status ht_operator_at(const ht_model *model, uint32_t at, ht_operator *op, uint32_t *next);

/* The bytes of a tensor, in the arena, the unpack memory or the bundle. The index is valid. */
void *ht_tensor_data(ht_model *model, uint32_t index, ht_tensor *tensor);

/* Check the fields and shapes of an operator. */
ht_status ht_check_operator(const ht_bundle *bundle, const ht_operator *op);

/* Check the values of an operator's constants: multipliers, shifts, biases. */
ht_status ht_check_constants(ht_model *model, const ht_operator *op);

/* Run a checked operator. */
void ht_compute(ht_model *model, const ht_operator *op);

#endif

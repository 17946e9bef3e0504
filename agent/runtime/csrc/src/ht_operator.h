/* Operator records of PROG, and what the interpreter and the operators share. */
#ifndef HARDTACK_HT_OPERATOR_H
#define HARDTACK_HT_OPERATOR_H

#include "hardtack/ht_interpreter.h"
#include "hardtack/ht_kernels.h"
#include "hardtack/ht_operators.h"
#include "ht_load.h"

typedef struct ht_operator {
    uint32_t opcode;       /* index in ht_operators */
    uint32_t count;        /* fields */
    uint32_t width;        /* bytes of a field: 1, 2 or 4 */
    const uint8_t *fields; /* signed, in the order of SPEC section 2 */
} ht_operator;

/* What the interpreter knows of an operator. */
struct ht_operator_entry {
    /* Check fields and shapes: the bundle is hostile until this says HT_OK. */
    ht_status (*check)(const ht_bundle *bundle, const ht_operator *op);
    /* Check the values of the constants once they are unpacked; NULL where any value will do. */
    ht_status (*check_constants)(ht_model *model, const ht_operator *op);
    /* Run it, checked. */
    void (*run)(ht_model *model, const ht_operator *op);
    uint32_t inputs; /* the fields that name inputs: bit i for field i, bit 31 from there on */
    uint32_t output; /* the field that names the output */
};

/* What the operators know of a coding that is used where it lies. */
struct ht_in_place_entry {
    /* Is it such a tensor of rows * taps codes? The kernel reads it as it is. */
    int (*check)(const uint8_t *bytes, uint32_t size, int32_t rows, int32_t taps);
    ht_conv_2d_kernel *kernel;
};

/* What they know of weights with a high plane, which is sparse. */
struct ht_split_entry {
    int (*check)(const uint8_t *bytes, uint32_t size, int32_t rows, int32_t taps);
    uint32_t (*peak)(const uint8_t *bytes, int32_t rows, int32_t taps);
    ht_conv_2d_split_kernel *kernel;
};

/* All fields from one on, as `inputs`. */
#define HT_FROM_FIELD(first) (0xFFFFFFFFu << (first))

int32_t ht_field(const ht_operator *op, uint32_t index);

/* Bytes of an activation's code. */
static inline int32_t ht_code_size(const ht_tensor *tensor) {
    return tensor->dtype == HT_INT16 ? 2 : 1;
}

static inline ht_dims ht_dims_of(const ht_tensor *tensor) {
    const ht_dims dims = {tensor->dims[0], tensor->dims[1], tensor->dims[2], tensor->dims[3]};
    return dims;
}

/* Read the record at byte `at` of the operators; *next is where the following one begins. */
ht_status ht_operator_at(const ht_model *model, uint32_t at, ht_operator *op, uint32_t *next);

/* The bytes of the tensor that a field names, in the arena, the unpack memory or the bundle. */
void *ht_operand_data(ht_model *model, const ht_operator *op, uint32_t field, ht_tensor *tensor);

/* Bytes that the coded constants of an operator take, which is checked; UINT32_MAX for more. */
uint32_t ht_layer_size(const ht_bundle *bundle, const ht_operator *op);

/* A folded constant is a bias that leans on the weights of its operator: not on others, which may
 * not be in memory when it is unpacked. */
ht_status ht_check_folded(const ht_bundle *bundle, const ht_operator *op);

/* Unpack the constants of an operator about to run, where the memory is for one at a time. */
ht_status ht_layer_unpack(ht_model *model, const ht_operator *op);

#endif

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
    uint32_t output; /* the field that names the output */
};

int32_t ht_field(const ht_operator *op, uint32_t index);

static inline ht_dims ht_dims_of(const ht_tensor *tensor) {
    const ht_dims dims = {tensor->dims[0], tensor->dims[1], tensor->dims[2], tensor->dims[3]};
    return dims;
}

/* Read the record at byte `at` of the operators; *next is where the following one begins. */
ht_status ht_operator_at(const ht_model *model, uint32_t at, ht_operator *op, uint32_t *next);

/* The bytes of a tensor, in the arena, the unpack memory or the bundle. The index is valid. */
void *ht_tensor_data(ht_model *model, uint32_t index, ht_tensor *tensor);

/* The same of the tensor that a field names. */
void *ht_operand_data(ht_model *model, const ht_operator *op, uint32_t field, ht_tensor *tensor);

#endif

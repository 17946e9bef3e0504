/* Where constants are: in the bundle, unpacked all together, or unpacked for one operator. */
#include "hardtack/ht_unpack.h"
#include "ht_operator.h"

/* ---- All of them */

/* Where coded tensor `index` begins in the unpack memory. Programs name tensors in about the order
 * of the table, so the search goes on from the last one found. */
static uint32_t offset_of_tensor(ht_model *model, uint32_t index) {
    if (index < model->cursor) {
        model->cursor = 0;
        model->cursor_offset = 0;
    }
    while (model->cursor < index) {
        ht_tensor tensor;
        (void)ht_bundle_tensor(&model->bundle, model->cursor, &tensor);
        model->cursor_offset += ht_is_coded(&tensor) ? ht_unpacked_bytes(&tensor) : 0;
        model->cursor++;
    }
    return model->cursor_offset;
}

/* ---- Those of one operator, field by field */

/* Read the tensor that a field names if it is a constant. */
static int is_constant_input(const ht_bundle *bundle, const ht_operator *op, uint32_t field,
                             ht_tensor *tensor) {
    const uint32_t bit = field < 31 ? field : 31;
    return (ht_operators[op->opcode]->inputs >> bit & 1u) != 0 &&
           ht_bundle_tensor(bundle, (uint32_t)ht_field(op, field), tensor) == HT_OK &&
           tensor->place == HT_CONSTANT;
}

static int is_coded_input(const ht_bundle *bundle, const ht_operator *op, uint32_t field,
                          ht_tensor *tensor) {
    return is_constant_input(bundle, op, field, tensor) && ht_is_coded(tensor);
}

/* The last constant before tensor `index` in the table; `index` itself where there is none. */
static uint32_t constant_before(const ht_bundle *bundle, uint32_t index) {
    for (uint32_t i = index; i > 0; i--) {
        ht_tensor tensor;
        if (ht_bundle_tensor(bundle, i - 1, &tensor) == HT_OK && tensor.place == HT_CONSTANT) {
            return i - 1;
        }
    }
    return index;
}

ht_status ht_check_folded(const ht_bundle *bundle, const ht_operator *op) {
    for (uint32_t field = 0; field < op->count; field++) {
        ht_tensor tensor;
        if (!is_constant_input(bundle, op, field, &tensor) || tensor.coding != HT_FOLDED) {
            continue;
        }
        const uint32_t before = constant_before(bundle, (uint32_t)ht_field(op, field));
        if (field != 2 || before != (uint32_t)ht_field(op, 1)) {
            return HT_ERR_TENSOR;
        }
    }
    return HT_OK;
}

uint32_t ht_layer_size(const ht_bundle *bundle, const ht_operator *op) {
    uint64_t size = 0;
    for (uint32_t field = 0; field < op->count; field++) {
        ht_tensor tensor;
        size += is_coded_input(bundle, op, field, &tensor) ? ht_unpacked_bytes(&tensor) : 0;
    }
    return size < UINT32_MAX ? (uint32_t)size : UINT32_MAX;
}

static uint32_t offset_of_field(ht_model *model, const ht_operator *op, uint32_t field) {
    if (field < model->cursor) {
        model->cursor = 0;
        model->cursor_offset = 0;
    }
    for (; model->cursor < field; model->cursor++) {
        ht_tensor tensor;
        if (is_coded_input(&model->bundle, op, model->cursor, &tensor)) {
            model->cursor_offset += ht_unpacked_bytes(&tensor);
        }
    }
    return model->cursor_offset;
}

ht_status ht_layer_unpack(ht_model *model, const ht_operator *op) {
    if (model->layer == NULL) {
        return HT_OK;
    }
    uint8_t *out = model->layer;
    model->cursor = 0; /* it counted the fields of another operator */
    model->cursor_offset = 0;
    ht_constant before = {NULL, 0};
    for (uint32_t field = 0; field < op->count; field++) {
        ht_tensor tensor;
        if (!is_constant_input(&model->bundle, op, field, &tensor)) {
            continue;
        }
        if (!ht_is_coded(&tensor)) {
            ht_pass_constant(&model->bundle, &tensor, &before);
            continue;
        }
        const ht_status status = ht_unpack_tensor(&model->bundle, &tensor, &before, out);
        if (status != HT_OK) {
            return status;
        }
        out += ht_unpacked_bytes(&tensor);
    }
    return HT_OK;
}

/* ---- Either */

/* A way round const for tensors that callers only read. */
static void *not_const(const void *p) {
    return (void *)(uintptr_t)p;
}

void *ht_operand_data(ht_model *model, const ht_operator *op, uint32_t field, ht_tensor *tensor) {
    const uint32_t index = (uint32_t)ht_field(op, field);
    (void)ht_bundle_tensor(&model->bundle, index, tensor);
    if (tensor->place == HT_ARENA) {
        return model->arena + tensor->offset;
    }
    if (!ht_is_coded(tensor)) {
        return not_const(model->bundle.section[HT_DATA].bytes + tensor->offset);
    }
    return not_const(model->weights + (model->layer != NULL ? offset_of_field(model, op, field)
                                                            : offset_of_tensor(model, index)));
}

static ht_status check_constants(ht_model *model) {
    uint32_t at = 0;
    ht_status status = HT_OK;
    for (uint32_t i = 0; i < model->op_count && status == HT_OK; i++) {
        ht_operator op;
        model->failed_op = i;
        status = ht_operator_at(model, at, &op, &at);
        if (status == HT_OK) {
            status = ht_layer_unpack(model, &op);
        }
        if (status == HT_OK && ht_operators[op.opcode]->check_constants != NULL) {
            status = ht_operators[op.opcode]->check_constants(model, &op);
        }
    }
    return status;
}

/* Use what is unpacked there, or will be operator by operator in `layer`. */
static ht_status use(ht_model *model, const void *memory, uint8_t *layer) {
    /* A bundle without coded tensors needs no memory, but must count as unpacked. */
    model->weights = memory != NULL ? memory : (const int8_t *)model->bundle.bytes;
    model->layer = layer;
    model->cursor = 0;
    model->cursor_offset = 0;
    const ht_status status = check_constants(model);
    if (status != HT_OK) {
        model->weights = NULL;
    }
    return status;
}

static ht_status check_memory(const ht_model *model, const void *memory, size_t size,
                              uint32_t needed) {
    if (size < needed || (memory == NULL && model->bundle.unpacked_size > 0)) {
        return HT_ERR_MEMORY;
    }
    /* int32 constants are read where they are unpacked */
    return (uintptr_t)memory % 4 == 0 ? HT_OK : HT_ERR_ALIGNMENT;
}

ht_status ht_weights_unpack(ht_model *model, void *memory, size_t size) {
    const int all = size >= model->bundle.unpacked_size;
    model->weights = NULL;
    ht_status status =
        check_memory(model, memory, size, all ? model->bundle.unpacked_size : model->layer_size);
    if (status == HT_OK && all) {
        status = ht_unpack_all(&model->bundle, memory);
    }
    return status == HT_OK ? use(model, memory, all ? NULL : memory) : status;
}

ht_status ht_weights_use(ht_model *model, const void *memory, size_t size) {
    model->weights = NULL;
    const ht_status status = check_memory(model, memory, size, model->bundle.unpacked_size);
    return status == HT_OK ? use(model, memory, NULL) : status;
}

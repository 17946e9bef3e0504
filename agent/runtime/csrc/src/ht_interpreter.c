#include "hardtack/ht_interpreter.h"

#include <float.h>

#include "ht_check.h"

#define COUNTS_SIZE 4u
#define MAX_PORTS 8
#define MAX_OPS 4096

/* ---- Opening */

int32_t ht_field(const ht_operator *op, uint32_t index) {
    const uint8_t *field = op->fields + op->width * index;
    switch (op->width) {
    case 1:
        return (int8_t)field[0];
    case 2:
        return (int16_t)load16_le(field);
    default:
        return load_i32_le(field);
    }
}

ht_status ht_operator_at(const ht_model *model, uint32_t at, ht_operator *op, uint32_t *next) {
    if (at > model->ops.size || model->ops.size - at < 4) {
        return HT_ERR_PROGRAM;
    }
    const uint8_t *record = model->ops.bytes + at;
    op->opcode = record[0];
    op->width = record[1];
    op->count = load16_le(record + 2);
    op->fields = record + 4;
    if ((op->width != 1 && op->width != 2 && op->width != 4) ||
        op->width * op->count > model->ops.size - at - 4) {
        return HT_ERR_PROGRAM;
    }
    *next = at + 4 + op->width * op->count;
    return op->opcode > 0 && op->opcode < HT_OPERATORS ? HT_OK : HT_ERR_OPCODE;
}

static ht_status check_ports(const ht_model *model) {
    for (uint32_t i = 0; i < model->input_count + model->output_count; i++) {
        const uint8_t *port = model->ports + i * HT_PORT_SIZE;
        const int32_t zero = (int16_t)load16_le(port + 2);
        const float scale = load_f32_le(port + 4);
        ht_tensor tensor;
        if (ht_bundle_tensor(&model->bundle, load16_le(port), &tensor) != HT_OK ||
            tensor.place != HT_ARENA || (i < model->input_count && tensor.dtype != HT_INT8) ||
            !ht_is_zero_point(zero, tensor.dtype) || !(scale > 0.0f && scale <= FLT_MAX)) {
            return HT_ERR_PROGRAM;
        }
    }
    return HT_OK;
}

static ht_status check_operator(ht_model *model, const ht_operator *op) {
    const ht_operator_entry *entry = ht_operators[op->opcode];
    ht_status status = entry != NULL ? entry->check(&model->bundle, op) : HT_ERR_NOT_LINKED;
    if (status == HT_OK) {
        status = ht_check_folded(&model->bundle, op);
    }
    if (status == HT_OK) {
        const uint32_t size = ht_layer_size(&model->bundle, op);
        model->layer_size = size > model->layer_size ? size : model->layer_size;
    }
    return status;
}

static ht_status check_operators(ht_model *model) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < model->op_count; i++) {
        ht_operator op = {0, 0, 0, NULL};
        ht_status status = ht_operator_at(model, at, &op, &at);
        if (status == HT_OK) {
            status = check_operator(model, &op);
        }
        if (status != HT_OK) {
            model->failed_op = i;
            model->failed_opcode = op.opcode;
            return status;
        }
    }
    return at == model->ops.size ? HT_OK : HT_ERR_PROGRAM;
}

static ht_status read_program(ht_model *model) {
    const ht_span *prog = &model->bundle.section[HT_PROG];
    if (prog->size < COUNTS_SIZE) {
        return HT_ERR_PROGRAM;
    }
    model->op_count = load16_le(prog->bytes);
    model->input_count = prog->bytes[2];
    model->output_count = prog->bytes[3];
    if (model->op_count > MAX_OPS || model->input_count < 1 || model->input_count > MAX_PORTS ||
        model->output_count < 1 || model->output_count > MAX_PORTS) {
        return HT_ERR_PROGRAM;
    }
    const uint32_t ports_size = (model->input_count + model->output_count) * HT_PORT_SIZE;
    if (prog->size - COUNTS_SIZE < ports_size) {
        return HT_ERR_PROGRAM;
    }
    model->ports = prog->bytes + COUNTS_SIZE;
    model->ops.bytes = model->ports + ports_size;
    model->ops.size = prog->size - COUNTS_SIZE - ports_size;
    const ht_status status = check_ports(model);
    return status == HT_OK ? check_operators(model) : status;
}

ht_status ht_model_open(const void *bytes, size_t size, ht_model *model) {
    if (model == NULL) {
        return HT_ERR_ARGUMENT;
    }
    memset(model, 0, sizeof *model);
    const ht_status status = ht_bundle_open(bytes, size, &model->bundle);
    return status == HT_OK ? read_program(model) : status;
}

/* ---- Memory */

ht_status ht_model_set_arena(ht_model *model, void *arena, size_t size) {
    if (arena == NULL || size < model->bundle.arena_size) {
        return HT_ERR_MEMORY;
    }
    model->arena = arena;
    return HT_OK;
}

/* ---- Ports */

static ht_status fill_port(const ht_model *model, uint32_t tensor_index, ht_port *port) {
    ht_tensor tensor;
    if (model->arena == NULL) {
        return HT_ERR_MEMORY;
    }
    const ht_status status = ht_bundle_tensor(&model->bundle, tensor_index, &tensor);
    if (status == HT_OK) {
        port->codes = model->arena + tensor.offset;
        port->elements = tensor.elements;
        port->code_size = ht_code_size(&tensor);
        memcpy(port->dims, tensor.dims, sizeof port->dims);
        port->scale = 0.0f;
        port->zero = 0;
    }
    return status;
}

static ht_status outer_port(const ht_model *model, uint32_t index, ht_port *port) {
    const uint8_t *entry = model->ports + index * HT_PORT_SIZE;
    const ht_status status = fill_port(model, load16_le(entry), port);
    if (status == HT_OK) {
        port->scale = load_f32_le(entry + 4);
        port->zero = (int16_t)load16_le(entry + 2);
    }
    return status;
}

ht_status ht_input(const ht_model *model, uint32_t index, ht_port *port) {
    return index < model->input_count ? outer_port(model, index, port) : HT_ERR_ARGUMENT;
}

ht_status ht_output(const ht_model *model, uint32_t index, ht_port *port) {
    if (index >= model->output_count) {
        return HT_ERR_ARGUMENT;
    }
    return outer_port(model, model->input_count + index, port);
}

static ht_status find_operator(const ht_model *model, uint32_t index, ht_operator *op) {
    if (index >= model->op_count) {
        return HT_ERR_ARGUMENT;
    }
    uint32_t at = 0;
    ht_status status = HT_OK;
    for (uint32_t i = 0; i <= index && status == HT_OK; i++) {
        status = ht_operator_at(model, at, op, &at);
    }
    return status;
}

ht_status ht_op_output(const ht_model *model, uint32_t index, ht_port *port) {
    ht_operator op;
    const ht_status status = find_operator(model, index, &op);
    if (status != HT_OK) {
        return status;
    }
    return fill_port(model, (uint32_t)ht_field(&op, ht_operators[op.opcode]->output), port);
}

/* ---- Running */

static ht_status run_operator(ht_model *model, const ht_operator *op) {
    const ht_status status = ht_layer_unpack(model, op);
    if (status == HT_OK) {
        ht_operators[op->opcode]->run(model, op);
    }
    return status;
}

ht_status ht_run(ht_model *model) {
    if (model->arena == NULL || model->weights == NULL) {
        return HT_ERR_MEMORY;
    }
    uint32_t at = 0;
    ht_status status = HT_OK; /* any other: the bundle changed under our feet */
    for (uint32_t i = 0; i < model->op_count && status == HT_OK; i++) {
        ht_operator op;
        status = ht_operator_at(model, at, &op, &at);
        if (status == HT_OK) {
            status = run_operator(model, &op);
        }
    }
    return status;
}

ht_status ht_run_op(ht_model *model, uint32_t index) {
    ht_operator op;
    if (model->arena == NULL || model->weights == NULL) {
        return HT_ERR_MEMORY;
    }
    const ht_status status = find_operator(model, index, &op);
    return status == HT_OK ? run_operator(model, &op) : status;
}

/* ---- For callers in other languages */

size_t ht_model_size(void) {
    return sizeof(ht_model);
}

void ht_model_memory(const ht_model *model, uint32_t *arena_size, uint32_t *unpacked_size,
                     uint32_t *layer_size) {
    *arena_size = model->bundle.arena_size;
    *unpacked_size = model->bundle.unpacked_size;
    *layer_size = model->layer_size;
}

void ht_model_counts(const ht_model *model, uint32_t *inputs, uint32_t *outputs,
                     uint32_t *operators) {
    *inputs = model->input_count;
    *outputs = model->output_count;
    *operators = model->op_count;
}

uint32_t ht_model_failed_op(const ht_model *model) {
    return model->failed_op;
}

uint32_t ht_model_failed_opcode(const ht_model *model) {
    return model->failed_opcode;
}

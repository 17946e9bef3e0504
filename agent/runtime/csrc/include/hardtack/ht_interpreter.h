/* The interpreter: a bundle's program, run operator by operator in the caller's memory.
 *
 *     ht_model model;
 *     ht_model_open(bytes, size, &model);
 *     ht_weights_unpack(&model, weights, model.bundle.unpacked_size);
 *     ht_model_set_arena(&model, arena, model.bundle.arena_size);
 *     ht_port port;
 *     ht_input(&model, 0, &port);     ... write port.elements codes to port.codes
 *     ht_run(&model);
 *     ht_output(&model, 0, &port);    ... read them
 *
 * Opening checks every operator's fields and shapes, unpacking the constants' values, so that
 * running cannot fail, read or write outside the memory given, or overflow. */
#ifndef HARDTACK_HT_INTERPRETER_H
#define HARDTACK_HT_INTERPRETER_H

#include "hardtack/ht_bundle.h"

#define HT_PORT_SIZE 8u

typedef struct ht_model {
    ht_bundle bundle;
    uint32_t op_count;
    uint32_t input_count;   /* 1..8 */
    uint32_t output_count;  /* 1..8 */
    const uint8_t *ports;   /* in PROG, HT_PORT_SIZE bytes each, inputs first */
    ht_span ops;            /* in PROG: the operator records */
    int8_t *arena;          /* NULL until ht_model_set_arena */
    const int8_t *weights;  /* unpacked constants; NULL until ht_weights_unpack */
    uint8_t *layer;         /* the same memory where it holds those of one operator; else NULL */
    uint32_t layer_size;    /* bytes that those of one operator take at most, a multiple of 16 */
    uint32_t cursor;        /* tensor, or field of an operator, that was found last there, */
    uint32_t cursor_offset; /* and where it begins: the next search goes on from here */
    uint32_t failed_op;     /* after an operator was refused: which one, */
    uint32_t failed_opcode; /* and what it is */
} ht_model;

/* A tensor as callers see it: real = scale * (code - zero). Inputs are int8. */
typedef struct ht_port {
    int8_t *codes; /* an int16_t * where code_size is 2 */
    int32_t elements;
    int32_t code_size; /* bytes of a code */
    int32_t dims[4];   /* N H W C */
    float scale;       /* 0 for tensors inside the program, whose scale the bundle does not keep */
    int32_t zero;
} ht_port;

/* Code `i` of a port. */
static inline int32_t ht_port_code(const ht_port *port, int32_t i) {
    return port->code_size == 2 ? ((const int16_t *)(const void *)port->codes)[i] : port->codes[i];
}

/* Bytes of all codes of a port. */
static inline uint32_t ht_port_bytes(const ht_port *port) {
    return (uint32_t)(port->elements * port->code_size);
}

/* Check a whole bundle and find its program; see ht_bundle_open for bytes and size. */
HT_API ht_status ht_model_open(const void *bytes, size_t size, ht_model *model);

/* Give memory for the coded constants, at a multiple of 4, which may be NULL when there are none,
 * and check the values of all constants. It stays in use. With bundle.unpacked_size bytes they are
 * decoded once; with fewer, but at least layer_size, those of an operator before each of its runs.
 * HT_ERR_MEMORY with less than both. */
HT_API ht_status ht_weights_unpack(ht_model *model, void *memory, size_t size);

/* The same where all were unpacked before (ht_unpack_all): bundle.unpacked_size bytes, only read.
 */
HT_API ht_status ht_weights_use(ht_model *model, const void *memory, size_t size);

/* Give the working memory, at least bundle.arena_size bytes. Its contents do not matter. */
HT_API ht_status ht_model_set_arena(ht_model *model, void *arena, size_t size);

/* Input or output `index`, in the arena. HT_ERR_MEMORY before the arena is set.
 * Inputs must be written anew before each run: operators reuse their memory. */
HT_API ht_status ht_input(const ht_model *model, uint32_t index, ht_port *port);
HT_API ht_status ht_output(const ht_model *model, uint32_t index, ht_port *port);

/* Run all operators. */
HT_API ht_status ht_run(ht_model *model);

/* Run operator `index` alone; those before it must have been run since the inputs were written. */
HT_API ht_status ht_run_op(ht_model *model, uint32_t index);

/* Where operator `index` leaves its output; valid until a later operator reuses the memory. */
HT_API ht_status ht_op_output(const ht_model *model, uint32_t index, ht_port *port);

/* What callers that cannot see the struct need: its size, and the sizes of the memory to give. */
HT_API size_t ht_model_size(void);
HT_API void ht_model_memory(const ht_model *model, uint32_t *arena_size, uint32_t *unpacked_size,
                            uint32_t *layer_size);
HT_API void ht_model_counts(const ht_model *model, uint32_t *inputs, uint32_t *outputs,
                            uint32_t *operators);
HT_API uint32_t ht_model_failed_op(const ht_model *model);
HT_API uint32_t ht_model_failed_opcode(const ht_model *model);

#endif

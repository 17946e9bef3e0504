#include "exercise.h"

#include <stdlib.h>
#include <string.h>

#include "hardtack/ht_golden.h"
#include "hardtack/ht_huffman.h"

#define MEMORY_LIMIT (1u << 22) /* bundles that ask for more are opened, not run */
#define WORK_LIMIT (1u << 24)   /* bytes read per run, at worst: keeps one input to milliseconds */

static int is_quick(const ht_model *model) {
    const uint64_t reach =
        (uint64_t)model->bundle.total_size + model->bundle.unpacked_size + model->bundle.arena_size;
    uint64_t work = 0;
    for (uint32_t i = 0; i < model->op_count; i++) {
        ht_port port;
        if (ht_op_output(model, i, &port) == HT_OK) {
            work += (uint64_t)port.elements * reach;
        }
    }
    return work <= WORK_LIMIT;
}

static ht_status run(ht_model *model) {
    ht_golden golden;
    ht_status status = ht_golden_open(model, &golden);
    if (!is_quick(model)) {
        return status;
    }
    for (uint32_t i = 0; status == HT_OK && i < golden.count; i++) {
        uint32_t diverged;
        status = ht_golden_replay(model, &golden, i, &diverged);
    }
    (void)ht_run(model);
    return status;
}

/* The same with the constants of one operator unpacked at a time: it must end as `expected`. */
static void run_layered(ht_model *model, ht_status expected) {
    const uint32_t size = model->layer_size;
    if (size >= model->bundle.unpacked_size || (uint64_t)size * model->op_count > WORK_LIMIT) {
        return;
    }
    uint8_t *layer = malloc(size + 1u);
    ht_status status = layer == NULL ? HT_ERR_MEMORY : ht_weights_unpack(model, layer, size);
    if (status == HT_OK) {
        status = run(model);
    }
    free(layer);
    if (status != expected) {
        abort();
    }
}

ht_status exercise_bundle(const uint8_t *data, size_t size) {
    uint8_t *bytes = malloc(size > 0 ? size : 1);
    uint8_t *weights = NULL;
    uint8_t *arena = NULL;
    ht_model model;
    if (bytes == NULL) {
        return HT_ERR_MEMORY;
    }
    if (size > 0) {
        memcpy(bytes, data, size);
    }
    ht_status status = ht_model_open(bytes, size, &model);
    if (status == HT_OK && model.bundle.unpacked_size <= MEMORY_LIMIT &&
        model.bundle.arena_size <= MEMORY_LIMIT) {
        weights = malloc(model.bundle.unpacked_size + 1u);
        arena = calloc(model.bundle.arena_size + 1u, 1);
        status = ht_model_set_arena(&model, arena, model.bundle.arena_size);
        if (status == HT_OK) {
            status = ht_weights_unpack(&model, weights, model.bundle.unpacked_size);
        }
        if (status == HT_OK) {
            status = run(&model);
            run_layered(&model, status);
        }
    }
    free(arena);
    free(weights);
    free(bytes);
    return status;
}

/* Take a byte-counted piece off the input. */
static int take(const uint8_t **data, size_t *size, const uint8_t **piece, size_t *piece_size) {
    if (*size < 1 || **data >= *size) {
        return 0;
    }
    *piece_size = **data;
    *piece = *data + 1;
    *data += 1 + *piece_size;
    *size -= 1 + *piece_size;
    return 1;
}

/* Decode gap-huff, or dense-huff where `gaps` is NULL. */
static ht_status decode(const ht_gap_decoders *gaps, const ht_decoder *values,
                        const uint8_t *stream, size_t size, size_t count) {
    uint8_t *in = malloc(size + 1);
    int8_t *out = malloc(count);
    ht_status status = HT_ERR_MEMORY;
    if (in != NULL && out != NULL) {
        uint8_t *exact = in + 1; /* unaligned, and ending with the allocation */
        memcpy(exact, stream, size);
        status = gaps != NULL ? ht_huffman_decode_gap(gaps, exact, size, out, count)
                              : ht_huffman_decode_dense(values, exact, size, out, count);
    }
    free(out);
    free(in);
    return status;
}

ht_status exercise_huffman(const uint8_t *data, size_t size) {
    const uint8_t *table;
    const uint8_t *gap_table;
    size_t table_size;
    size_t gap_size;
    if (size < 3) {
        return HT_ERR_ARGUMENT;
    }
    const int gap = data[0] & 1;
    const size_t count = 1u + data[1] + 256u * data[2];
    data += 3;
    size -= 3;
    if (!take(&data, &size, &table, &table_size) || !take(&data, &size, &gap_table, &gap_size)) {
        return HT_ERR_ARGUMENT;
    }
    ht_full_decoder values;
    ht_gap_decoders gaps;
    const ht_status status =
        gap ? ht_huffman_build_gap(table, table_size, gap_table, gap_size, &gaps)
            : ht_huffman_build(table, table_size, &values);
    return status == HT_OK ? decode(gap ? &gaps : NULL, &values.decoder, data, size, count)
                           : status;
}

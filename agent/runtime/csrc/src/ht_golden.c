#include "hardtack/ht_golden.h"

#include "hardtack/ht_crc32.h"
#include "ht_load.h"

void ht_golden_fill(uint32_t *state, int8_t *codes, int32_t count) {
    uint32_t x = *state;
    for (int32_t i = 0; i < count; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        codes[i] = (int8_t)(uint8_t)(x >> 24);
    }
    *state = x;
}

static uint32_t input_elements(const ht_model *model, uint32_t index) {
    ht_tensor tensor;
    (void)ht_bundle_tensor(&model->bundle, load16_le(model->ports + HT_PORT_SIZE * index), &tensor);
    return (uint32_t)tensor.elements;
}

static uint32_t padded(uint32_t size) {
    return (size + 3) / 4 * 4;
}

/* Bytes of the record at `at`, or 0 when it does not fit. */
static uint32_t record_size(const ht_golden *golden, uint32_t at) {
    const uint32_t left = golden->records.size - at;
    if (left < 4) {
        return 0;
    }
    const uint32_t sample = load32_le(golden->records.bytes + at) == 0 ? golden->sample_size : 0;
    const uint32_t size = golden->record_size + sample;
    return size <= left ? size : 0;
}

ht_status ht_golden_open(const ht_model *model, ht_golden *golden) {
    const ht_span *gold = &model->bundle.section[HT_GOLD];
    if (gold->size < 8 || load32_le(gold->bytes + 4) != model->op_count) {
        return HT_ERR_GOLDEN;
    }
    golden->watch = NULL;
    golden->count = load32_le(gold->bytes);
    if (golden->count > 64) {
        return HT_ERR_GOLDEN;
    }
    golden->record_size = 4 + 4 * (model->op_count + 1);
    golden->sample_size = 0;
    for (uint32_t i = 0; i < model->input_count; i++) { /* 8 inputs below 2^28: no overflow */
        golden->sample_size += padded(input_elements(model, i));
    }
    golden->records.bytes = gold->bytes + 8;
    golden->records.size = gold->size - 8;
    uint32_t at = 0;
    for (uint32_t i = 0; i < golden->count; i++) {
        const uint32_t size = record_size(golden, at);
        if (size == 0) {
            return HT_ERR_GOLDEN;
        }
        at += size;
    }
    return at == golden->records.size ? HT_OK : HT_ERR_GOLDEN;
}

/* Write the inputs of a record into the arena; returns where its checksums begin. */
static const uint8_t *feed(const ht_model *model, const uint8_t *record) {
    uint32_t state = load32_le(record);
    const uint8_t *next = record + 4;
    const int seeded = state != 0;
    for (uint32_t i = 0; i < model->input_count; i++) {
        ht_port port;
        (void)ht_input(model, i, &port);
        if (seeded) {
            ht_golden_fill(&state, port.codes, port.elements);
        } else {
            memcpy(port.codes, next, (size_t)port.elements);
            next += padded((uint32_t)port.elements);
        }
    }
    return next;
}

static uint32_t crc_of_outputs(const ht_model *model) {
    uint32_t crc = 0;
    for (uint32_t i = 0; i < model->output_count; i++) {
        ht_port port;
        (void)ht_output(model, i, &port);
        crc = ht_crc32(crc, port.codes, ht_port_bytes(&port));
    }
    return crc;
}

ht_status ht_golden_replay(ht_model *model, const ht_golden *golden, uint32_t index,
                           uint32_t *diverged) {
    if (index >= golden->count) {
        return HT_ERR_ARGUMENT;
    }
    if (model->arena == NULL || model->weights == NULL) {
        return HT_ERR_MEMORY;
    }
    uint32_t at = 0;
    for (uint32_t i = 0; i < index; i++) {
        at += record_size(golden, at);
    }
    const uint8_t *crcs = feed(model, golden->records.bytes + at);
    for (uint32_t i = 0; i <= model->op_count; i++, crcs += 4) {
        uint32_t crc;
        if (i < model->op_count) {
            ht_port port;
            if (golden->watch != NULL) {
                golden->watch(i);
            }
            (void)ht_run_op(model, i);
            (void)ht_op_output(model, i, &port);
            crc = ht_crc32(0, port.codes, ht_port_bytes(&port));
        } else {
            crc = crc_of_outputs(model);
        }
        if (crc != load32_le(crcs)) {
            if (diverged != NULL) {
                *diverged = i;
            }
            return HT_ERR_DIVERGED;
        }
    }
    return HT_OK;
}

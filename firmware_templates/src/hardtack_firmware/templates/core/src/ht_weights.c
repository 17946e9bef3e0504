#include "hardtack/ht_weights.h"

#include "hardtack/ht_crc32.h"
#include "hardtack/ht_unpack.h"
#include "hardtack/ht_verify.h"
#include "ht_bytes.h"

#define RECORD_SIZE 64u

/* In the record, bytes. */
enum { AT_SIZE = 4, AT_CONTENT_CRC = 8, AT_ZEROS = 12, AT_PAYLOAD = 16, AT_MORE = 48, AT_CRC = 60 };

static const uint8_t magic[4] = {'H', 'T', 'U', '1'};

/* ---- The choice */

static uint32_t sum(uint32_t a, uint32_t b) {
    return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

static uint32_t larger(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

/* Bytes that a tensor and those folded behind it take at most, which are unpacked together. */
static uint32_t largest_coded(const ht_bundle *bundle) {
    uint32_t largest = 0;
    uint32_t together = 0;
    for (uint32_t i = 0; i < bundle->tensor_count; i++) {
        ht_tensor tensor;
        (void)ht_bundle_tensor(bundle, i, &tensor);
        if (ht_is_coded(&tensor)) {
            together = sum(tensor.coding == HT_FOLDED ? together : 0, ht_unpacked_bytes(&tensor));
            largest = larger(largest, together);
        } else if (tensor.place == HT_CONSTANT) {
            together = 0;
        }
    }
    return largest;
}

ht_way ht_weights_choose(const ht_flash *flash, const ht_model *model, uint32_t pool_size,
                         uint32_t *least) {
    const ht_bundle *bundle = &model->bundle;
    const uint32_t for_all = sum(bundle->arena_size, bundle->unpacked_size);
    const uint32_t for_layers = sum(bundle->arena_size, model->layer_size);
    /* Unpacked to memory, with what did not fill a write unit. */
    const uint32_t for_flash =
        larger(bundle->arena_size, sum(largest_coded(bundle), HT_MAX_WRITE_UNIT));
    const int has_flash = sum(bundle->unpacked_size, RECORD_SIZE) <= flash->unpacked_size;
    *least = for_all < for_layers ? for_all : for_layers;
    if (has_flash && for_flash < *least) {
        *least = for_flash;
    }
    if (for_all <= pool_size) {
        return HT_WAY_MEMORY;
    }
    if (has_flash && for_flash <= pool_size) {
        return HT_WAY_FLASH;
    }
    return for_layers <= pool_size ? HT_WAY_LAYERS : HT_WAY_NONE;
}

/* ---- Flash */

static uint32_t record_at(const ht_flash *flash) {
    return flash->unpacked_at + flash->unpacked_size - RECORD_SIZE;
}

static void write_record(const ht_flash *flash, const ht_bundle *bundle, uint8_t *record) {
    const uint8_t *content = flash->base + flash->unpacked_at;
    memset(record, 0, RECORD_SIZE);
    memcpy(record, magic, sizeof magic);
    put32(record + AT_SIZE, bundle->unpacked_size);
    put32(record + AT_CONTENT_CRC, ht_crc32(0, content, bundle->unpacked_size));
    memcpy(record + AT_PAYLOAD, bundle->bytes + HT_AT_DIGEST, AT_MORE - AT_PAYLOAD);
    put32(record + AT_CRC, ht_crc32(0, record, AT_CRC));
}

/* Are the weights of this payload there, as the record says of what is there now? */
static int are_in_flash(const ht_flash *flash, const ht_bundle *bundle) {
    uint8_t record[RECORD_SIZE];
    write_record(flash, bundle, record);
    return memcmp(flash->base + record_at(flash), record, RECORD_SIZE) == 0;
}

/* Erase what the weights need. The record goes first: it must not outlive what it speaks of. */
static ht_reason erase(const ht_flash *flash, uint32_t size) {
    const uint32_t unit = flash->unpacked_unit;
    const uint32_t last = flash->unpacked_at + flash->unpacked_size - unit;
    ht_reason reason = ht_flash_erase(flash, last, unit);
    for (uint32_t at = flash->unpacked_at;
         at < last && at < flash->unpacked_at + size && reason == HT_REASON_OK; at += unit) {
        reason = ht_flash_erase(flash, at, unit);
    }
    return reason;
}

/* Bytes at the beginning of the pool that wait to be programmed. */
typedef struct ht_waiting {
    uint32_t at; /* where they go in flash */
    uint32_t held;
} ht_waiting;

/* Program the whole write units among them. */
static ht_reason program_units(const ht_flash *flash, uint8_t *pool, ht_waiting *waiting,
                               uint32_t *detail) {
    const uint32_t whole = waiting->held / flash->write_unit * flash->write_unit;
    const ht_reason reason = ht_flash_program(flash, waiting->at, pool, whole, detail);
    waiting->at += whole;
    waiting->held -= whole;
    memmove(pool, pool + whole, waiting->held);
    return reason;
}

/* Unpack tensor by tensor to the pool, and program from there. What a folded one leans on stays
 * until that is unpacked. */
static ht_reason unpack(const ht_flash *flash, const ht_bundle *bundle, uint8_t *pool,
                        uint32_t *detail) {
    ht_waiting waiting = {flash->unpacked_at, 0};
    ht_constant before = {NULL, 0};
    for (uint32_t i = 0; i < bundle->tensor_count; i++) {
        ht_tensor tensor;
        (void)ht_bundle_tensor(bundle, i, &tensor);
        if (tensor.place != HT_CONSTANT) {
            continue;
        }
        if (tensor.coding != HT_FOLDED) {
            const ht_reason reason = program_units(flash, pool, &waiting, detail);
            if (reason != HT_REASON_OK) {
                return reason;
            }
        }
        if (!ht_is_coded(&tensor)) {
            ht_pass_constant(bundle, &tensor, &before);
            continue;
        }
        const ht_status status = ht_unpack_tensor(bundle, &tensor, &before, pool + waiting.held);
        if (status != HT_OK) {
            *detail = (uint32_t)-status;
            return HT_REASON_STRUCTURE;
        }
        waiting.held += ht_unpacked_bytes(&tensor);
    }
    const uint32_t unfilled =
        (flash->write_unit - waiting.held % flash->write_unit) % flash->write_unit;
    memset(pool + waiting.held, 0xFF, unfilled);
    waiting.held += unfilled;
    return program_units(flash, pool, &waiting, detail);
}

static ht_reason fill(const ht_flash *flash, const ht_bundle *bundle, uint8_t *pool,
                      uint32_t *detail) {
    uint8_t record[RECORD_SIZE];
    *detail = flash->unpacked_at;
    ht_reason reason = erase(flash, bundle->unpacked_size);
    if (reason == HT_REASON_OK) {
        reason = unpack(flash, bundle, pool, detail);
    }
    if (reason == HT_REASON_OK) {
        write_record(flash, bundle, record);
        reason = ht_flash_program(flash, record_at(flash), record, RECORD_SIZE, detail);
    }
    return reason;
}

/* ---- All ways */

ht_reason ht_weights_place(const ht_flash *flash, ht_model *model, ht_way *way, uint8_t *pool,
                           uint32_t pool_size, uint32_t *detail) {
    const ht_bundle *bundle = &model->bundle;
    const uint32_t arena_size = bundle->arena_size;
    if (*way == HT_WAY_FLASH && !are_in_flash(flash, bundle)) {
        const ht_reason reason = fill(flash, bundle, pool, detail);
        const int is_worn = reason == HT_REASON_FLASH || reason == HT_REASON_NOT_ERASED;
        if (is_worn && sum(arena_size, model->layer_size) <= pool_size) {
            *way = HT_WAY_LAYERS; /* slower, but the model runs */
        } else if (reason != HT_REASON_OK) {
            return is_worn ? HT_REASON_FLASH : reason;
        }
    }
    ht_status status = ht_model_set_arena(model, pool, arena_size);
    if (status == HT_OK && *way == HT_WAY_FLASH) {
        status = ht_weights_use(model, flash->base + flash->unpacked_at, bundle->unpacked_size);
    } else if (status == HT_OK) {
        status = ht_weights_unpack(model, pool + arena_size, pool_size - arena_size);
    }
    *detail = (uint32_t)-status;
    return status == HT_OK ? HT_REASON_OK : HT_REASON_STRUCTURE;
}

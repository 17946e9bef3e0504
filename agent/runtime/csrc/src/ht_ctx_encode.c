#include "hardtack/ht_ctx.h"

/* A range encoder. Bytes that a carry may still change wait: `held`, then `full` times 0xFF. */
typedef struct coder {
    uint8_t *out;
    size_t room, size;
    uint64_t low;
    uint32_t range;
    uint32_t full;
    uint8_t held;
    int begun; /* the first byte held is not of the stream */
} coder;

static void put(coder *coder, uint8_t byte) {
    if (coder->size < coder->room) {
        coder->out[coder->size] = byte;
    }
    coder->size++;
}

static void shift(coder *coder) {
    const uint8_t carry = (uint8_t)(coder->low >> 32);
    if (coder->low < 0xFF000000u || carry) {
        if (coder->begun) {
            put(coder, (uint8_t)(coder->held + carry));
        }
        coder->begun = 1;
        for (; coder->full > 0; coder->full--) {
            put(coder, (uint8_t)(0xFF + carry));
        }
        coder->held = (uint8_t)(coder->low >> 24);
    } else {
        coder->full++;
    }
    coder->low = (coder->low & 0x00FFFFFFu) << 8;
}

static int code_bit(coder *coder, uint32_t p, int bit) {
    const uint32_t bound = (coder->range >> 16) * p;
    if (bit) {
        coder->range = bound;
    } else {
        coder->low += bound;
        coder->range -= bound;
    }
    while (coder->range < 1u << 24) {
        coder->range <<= 8;
        shift(coder);
    }
    return bit;
}

/* Of all numbers in the range write the one that ends with most zeros, and leave those out. */
static void finish(coder *coder) {
    for (int zeros = 24; zeros >= 0; zeros -= 8) {
        const uint64_t mask = ((uint64_t)1 << zeros) - 1;
        const uint64_t number = (coder->low + mask) & ~mask;
        if (number < coder->low + coder->range) {
            coder->low = number;
            break;
        }
    }
    for (int i = 0; i < 5; i++) {
        shift(coder);
    }
    const size_t written = coder->size < coder->room ? coder->size : coder->room;
    if (coder->size == written) {
        while (coder->size > 0 && coder->out[coder->size - 1] == 0) {
            coder->size--;
        }
    }
}

#include "ht_ctx_model.h"

ht_status ht_ctx_encode(int8_t *codes, int32_t rows, int32_t columns, int32_t lag, uint8_t *out,
                        size_t room, size_t *size) {
    if (codes == NULL || out == NULL || size == NULL || rows < 1 || columns < 1 || lag < 2 ||
        lag > 65535) {
        return HT_ERR_ARGUMENT;
    }
    if (room < 2) {
        return HT_ERR_MEMORY;
    }
    out[0] = (uint8_t)lag;
    out[1] = (uint8_t)(lag >> 8);
    coder coder = {.out = out + 2, .room = room - 2, .range = 0xFFFFFFFFu};
    (void)code_tensor(&coder, codes, rows, columns, lag, 0);
    finish(&coder);
    *size = coder.size + 2;
    return coder.size <= coder.room ? HT_OK : HT_ERR_MEMORY;
}

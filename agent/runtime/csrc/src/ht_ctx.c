#include "hardtack/ht_ctx.h"

/* A range decoder: `code` lies in the range, whose lower part stands for a 1. */
typedef struct coder {
    const uint8_t *next, *end;
    uint32_t range, code;
} coder;

static uint32_t
next_byte(coder *coder) { /* zeros behind the end, where the encoder left them out */
    return coder->next < coder->end ? *coder->next++ : 0;
}

static int code_bit(coder *coder, uint32_t p, int bit) {
    const uint32_t bound = (coder->range >> 16) * p;
    bit = coder->code < bound;
    if (bit) {
        coder->range = bound;
    } else {
        coder->code -= bound;
        coder->range -= bound;
    }
    while (coder->range < 1u << 24) {
        coder->range <<= 8;
        coder->code = coder->code << 8 | next_byte(coder);
    }
    return bit;
}

#include "ht_ctx_model.h"

ht_status ht_ctx_decode(const uint8_t *in, size_t size, int32_t rows, int32_t columns,
                        int8_t *out) {
    if (in == NULL || out == NULL || rows < 1 || columns < 1) {
        return HT_ERR_ARGUMENT;
    }
    if (size < 2) {
        return HT_ERR_CODE_STREAM;
    }
    const int32_t lag = in[0] | in[1] << 8;
    coder coder = {in + 2, in + size, 0xFFFFFFFFu, 0};
    for (int i = 0; i < 4; i++) {
        coder.code = coder.code << 8 | next_byte(&coder);
    }
    const int whole = lag >= 2 && code_tensor(&coder, out, rows, columns, lag, 1);
    return whole && coder.next == coder.end ? HT_OK : HT_ERR_CODE_STREAM;
}

#include "hardtack/ht_frame.h"

#include "hardtack/ht_crc32.h"
#include "ht_bytes.h"

#define LONGEST_RUN 254u

/* Undo the stuffing in place; reading is never behind writing. Returns 0 when a code byte points
 * behind the end. Zeros cannot occur: they delimit. */
static int unstuff(uint8_t *bytes, uint32_t size, uint32_t *plain_size) {
    uint32_t from = 0;
    uint32_t to = 0;
    while (from < size) {
        const uint32_t code = bytes[from++];
        if (code - 1 > size - from) {
            return 0;
        }
        memmove(bytes + to, bytes + from, code - 1);
        from += code - 1;
        to += code - 1;
        if (code <= LONGEST_RUN && from < size) {
            bytes[to++] = 0;
        }
    }
    *plain_size = to;
    return 1;
}

static int is_frame(ht_frame *frame, uint32_t stuffed_size) {
    uint32_t size = 0;
    if (stuffed_size > HT_FRAME_ROOM || !unstuff(frame->bytes, stuffed_size, &size) ||
        size < HT_FRAME_HEAD + HT_FRAME_CRC || size > HT_FRAME_HEAD + HT_MAX_BODY + HT_FRAME_CRC) {
        return 0;
    }
    size -= HT_FRAME_CRC;
    frame->body_size = size - HT_FRAME_HEAD;
    return ht_crc32(0, frame->bytes, size) == get32(frame->bytes + size);
}

int ht_frame_take(ht_frame *frame, uint8_t byte) {
    if (byte != 0) {
        if (frame->taken < HT_FRAME_ROOM) {
            frame->bytes[frame->taken++] = byte;
        } else {
            frame->taken = HT_FRAME_ROOM + 1;
        }
        return 0;
    }
    const uint32_t taken = frame->taken;
    frame->taken = 0;
    if (taken == 0) {
        return 0;
    }
    if (!is_frame(frame, taken)) {
        frame->damaged++;
        return 0;
    }
    return 1;
}

void ht_frame_send(ht_frame *frame, ht_write_fn write) {
    static const uint8_t delimiter = 0;
    uint8_t *bytes = frame->bytes;
    uint32_t size = HT_FRAME_HEAD + frame->body_size;
    put32(bytes + size, ht_crc32(0, bytes, size));
    size += HT_FRAME_CRC;
    write(&delimiter, 1);
    /* Runs of bytes that are not zero, each behind its code. A frame that ends in a zero has one
     * more run, of nothing. */
    uint32_t at = 0;
    int more = 1;
    while (more) {
        uint32_t run = 0;
        while (run < LONGEST_RUN && at + run < size && bytes[at + run] != 0) {
            run++;
        }
        const uint8_t code = (uint8_t)(run + 1);
        write(&code, 1);
        write(bytes + at, run);
        at += run;
        more = at < size;
        if (more && run < LONGEST_RUN) {
            at++; /* the zero that the code stands for */
        }
    }
    write(&delimiter, 1);
}

/* Frames on a serial line: byte stuffing and a checksum (SPEC section 7.1). */
#ifndef HARDTACK_HT_FRAME_H
#define HARDTACK_HT_FRAME_H

#include <stddef.h>
#include <stdint.h>

#ifndef HT_MAX_BODY
#define HT_MAX_BODY 560u /* bytes of a body, a multiple of 4, at least 256 */
#endif

#define HT_FRAME_HEAD 4u
#define HT_FRAME_CRC 4u

/* A frame of n bytes grows by 1 and by 1 per 254. */
#define HT_FRAME_ROOM                                                                              \
    (HT_FRAME_HEAD + HT_MAX_BODY + HT_FRAME_CRC + 1u + (HT_MAX_BODY + 8u) / 254u + 2u)

/* One frame, on its way in or out; `bytes` is type, status, sequence number, then the body. */
typedef struct ht_frame {
    uint32_t taken; /* bytes of the frame that is coming in; HT_FRAME_ROOM + 1: too long */
    uint32_t body_size;
    uint32_t damaged; /* pieces between delimiters that were no frame */
    uint8_t bytes[(HT_FRAME_ROOM + 3u) / 4u * 4u];
} ht_frame;

typedef void (*ht_write_fn)(const uint8_t *bytes, size_t size);

/* Take the next byte of the line. Returns 1 when it completes a frame: then head and body are in
 * `bytes`, body_size is set, and what is in `bytes` stays until the next byte is taken. */
int ht_frame_take(ht_frame *frame, uint8_t byte);

/* Send what is in `bytes`: head, and body_size bytes of body. */
void ht_frame_send(ht_frame *frame, ht_write_fn write);

#endif

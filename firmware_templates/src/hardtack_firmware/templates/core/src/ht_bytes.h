/* Little-endian fields of records and messages, whatever the machine's alignment. */
#ifndef HARDTACK_HT_BYTES_H
#define HARDTACK_HT_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint32_t get16(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t get32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint8_t *put16(uint8_t *p, uint32_t x) {
    p[0] = (uint8_t)x;
    p[1] = (uint8_t)(x >> 8);
    return p + 2;
}

static inline uint8_t *put32(uint8_t *p, uint32_t x) {
    put16(p, x & 0xFFFF);
    put16(p + 2, x >> 16);
    return p + 4;
}

static inline uint8_t *put_bytes(uint8_t *p, const void *bytes, uint32_t size) {
    memcpy(p, bytes, size);
    return p + size;
}

static inline int is_zero(const uint8_t *p, uint32_t size) {
    for (uint32_t i = 0; i < size; i++) {
        if (p[i] != 0) {
            return 0;
        }
    }
    return 1;
}

#endif

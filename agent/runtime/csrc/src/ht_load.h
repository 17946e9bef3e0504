/* Little-endian fields of a file, whatever the machine's byte order and alignment. */
#ifndef HARDTACK_HT_LOAD_H
#define HARDTACK_HT_LOAD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t load16_le(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t load32_le(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline int32_t load_i32_le(const uint8_t *p) {
    return (int32_t)load32_le(p);
}

static inline float load_f32_le(const uint8_t *p) {
    const uint32_t bits = load32_le(p);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline int all_zero(const uint8_t *p, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (p[i] != 0) {
            return 0;
        }
    }
    return 1;
}

#endif

/* Bytes from a file, and what goes wrong with them. */
#ifndef HARDTACK_TESTS_DAMAGE_H
#define HARDTACK_TESTS_DAMAGE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

static inline uint32_t next_random(uint32_t *state) {
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    *state = x;
    return x;
}

/* A byte, or a 32-bit field set to a value that breaks careless sums. */
static inline void damage(uint8_t *at, size_t room, uint32_t *state) {
    static const uint32_t nasty[] = {0,           1,           2,           16,         255,
                                     65535,       65536,       0x0FFFFFFF,  0x10000000, 0x7FFFFFFF,
                                     0x80000000u, 0x80000001u, 0xFFFFFFFFu, 0xFFFFFFF0u};
    const uint32_t kind = next_random(state) % 4;
    if (kind == 0 || room < 4) {
        *at = (uint8_t)next_random(state);
    } else {
        uint32_t value = nasty[next_random(state) % (sizeof nasty / sizeof *nasty)];
        value = kind == 1 ? next_random(state) % 64 : value;
        for (int i = 0; i < 4; i++) {
            at[i] = (uint8_t)(value >> (8 * i));
        }
    }
}

static inline size_t read_all(const char *path, uint8_t *buffer, size_t room) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return 0;
    }
    const size_t size = fread(buffer, 1, room, file);
    fclose(file);
    return size;
}

#endif

/* hostile BUNDLE ROUNDS: damages a bundle in every way, and expects a status each time.
 *
 * Built with sanitizers, which end it at the first wrong access. Prints how many damaged bundles
 * were refused and how many were still run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "damage.h"
#include "exercise.h"
#include "hardtack/ht_bundle.h"

typedef struct tally {
    unsigned long refused, accepted;
} tally;

static void try_bytes(const uint8_t *bytes, size_t size, tally *tally) {
    const ht_status status = exercise_bundle(bytes, size);
    if (status == HT_OK || status == HT_ERR_DIVERGED) {
        tally->accepted++;
    } else {
        tally->refused++;
    }
}

/* Every length short of the whole must be refused. */
static int truncations(const uint8_t *good, size_t size, tally *tally) {
    for (size_t length = 0; length < size; length++) {
        if (exercise_bundle(good, length) == HT_OK) {
            fprintf(stderr, "accepted after %lu bytes\n", (unsigned long)length);
            return 0;
        }
        tally->refused++;
    }
    return 1;
}

/* Every value of every byte of header and section table. */
static void flips(uint8_t *bytes, size_t size, size_t end, tally *tally) {
    for (size_t at = 0; at < end; at++) {
        const uint8_t was = bytes[at];
        for (unsigned value = 0; value < 256; value++) {
            bytes[at] = (uint8_t)value;
            try_bytes(bytes, size, tally);
        }
        bytes[at] = was;
    }
}

static void mutations(const uint8_t *good, uint8_t *bytes, size_t size, ht_span part,
                      unsigned long rounds, tally *tally) {
    uint32_t state = 0x12345678u + part.size;
    const size_t start = (size_t)(part.bytes - good);
    for (unsigned long round = 0; round < rounds && part.size > 0; round++) {
        memcpy(bytes, good, size);
        const uint32_t count = 1 + next_random(&state) % 3;
        for (uint32_t i = 0; i < count; i++) {
            const size_t word = next_random(&state) % part.size;
            const size_t at = next_random(&state) % 4 == 0 ? word : word / 4 * 4;
            damage(bytes + start + at, part.size - at, &state);
        }
        try_bytes(bytes, size, tally);
    }
    memcpy(bytes, good, size);
}

int main(int argc, char **argv) {
    static const char *names[HT_SECTIONS] = {"META", "PROG", "TENS", "HUFF", "DATA", "GOLD"};
    const size_t room = 1u << 20;
    uint8_t *good = malloc(room);
    uint8_t *bytes = malloc(room);
    ht_bundle bundle;
    if (argc != 3 || good == NULL || bytes == NULL) {
        return 2;
    }
    const size_t size = read_all(argv[1], good, room);
    const unsigned long rounds = strtoul(argv[2], NULL, 10);
    if (ht_bundle_open(good, size, &bundle) != HT_OK || exercise_bundle(good, size) != HT_OK) {
        fprintf(stderr, "the bundle itself is refused\n");
        return 1;
    }
    tally all = {0, 0};
    if (!truncations(good, size, &all)) {
        return 1;
    }
    memcpy(bytes, good, size);
    flips(bytes, size, HT_HEADER_SIZE + 4 * HT_SECTIONS, &all);
    for (int i = 0; i < HT_SECTIONS; i++) {
        tally part = {0, 0};
        mutations(good, bytes, size, bundle.section[i], rounds, &part);
        printf("%s refused %lu accepted %lu\n", names[i], part.refused, part.accepted);
        all.refused += part.refused;
        all.accepted += part.accepted;
    }
    printf("all refused %lu accepted %lu\n", all.refused, all.accepted);
    free(bytes);
    free(good);
    return 0;
}

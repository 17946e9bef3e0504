/* hostile_streams ROUNDS FILE...: damages Huffman streams, and expects a status each time.
 *
 * Built with sanitizers, which end it at the first wrong access. Files are inputs of
 * exercise_huffman; damage leaves their heads, so that most streams get as far as decoding. Prints
 * for each how many damaged ones were refused and how many decoded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "damage.h"
#include "exercise.h"

#define ROOM (1u << 20)

/* Where the stream begins, behind the two tables. */
static size_t stream_at(const uint8_t *good) {
    const size_t gap_table = 4u + good[3];
    return gap_table + 1u + good[gap_table];
}

static void mutate(const uint8_t *good, uint8_t *bytes, size_t size, unsigned long rounds) {
    const size_t start = stream_at(good);
    unsigned long refused = 0;
    uint32_t state = 0x12345678u + (uint32_t)size;
    for (unsigned long round = 0; round < rounds && start < size; round++) {
        memcpy(bytes, good, size);
        const size_t cut = round % 8 == 0 ? next_random(&state) % (size - start) : 0;
        const size_t head = round % 4 == 1 && size - start > 8 ? 8 : size - start;
        const size_t at = start + next_random(&state) % head;
        if (round % 2 == 0) {
            bytes[at] ^= (uint8_t)(1u << next_random(&state) % 8);
        } else {
            damage(bytes + at, size - at, &state);
        }
        refused += exercise_huffman(bytes, size - cut) != HT_OK;
    }
    printf("refused %lu decoded %lu\n", refused, rounds - refused);
}

int main(int argc, char **argv) {
    uint8_t *good = malloc(ROOM);
    uint8_t *bytes = malloc(ROOM);
    if (argc < 3 || good == NULL || bytes == NULL) {
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        const size_t size = read_all(argv[i], good, ROOM);
        if (exercise_huffman(good, size) != HT_OK) {
            fprintf(stderr, "%s itself is refused\n", argv[i]);
            return 1;
        }
        mutate(good, bytes, size, strtoul(argv[1], NULL, 10));
    }
    free(bytes);
    free(good);
    return 0;
}

/* libFuzzer target: code tables and streams, without a bundle around them. */
#include "exercise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    (void)exercise_huffman(data, size);
    return 0;
}

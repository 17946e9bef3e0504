/* libFuzzer target: a whole bundle, opened, unpacked and run. */
#include "exercise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    (void)exercise_bundle(data, size);
    return 0;
}

#include <string.h>

#include "hardtack/ht_kernels.h"

void ht_concat_s8(const int8_t *in, int32_t outer, int32_t n, int8_t *out, int32_t row) {
    for (int32_t i = 0; i < outer; i++) {
        memcpy(out, in, (size_t)n);
        in += n;
        out += row;
    }
}

#include "hardtack/ht_kernels.h"

void ht_lookup_s8(const int8_t *in, const int8_t table[256], int8_t *out, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        out[i] = table[in[i] + 128];
    }
}

/* The only code of the runtime that knows floating point: the edges of a model. */
#include "hardtack/ht_kernels.h"

/* Round half away from zero, saturated so that the conversion to int32 is defined. */
static int32_t round_to_int(float x) {
    if (!(x > -32768.0f)) {
        return x != x ? 0 : -32768;
    }
    if (x >= 32768.0f) {
        return 32768;
    }
    /* Not x + 0.5: that rounds 0.49999997 up. The difference is exact below 2^22. */
    const int32_t whole = (int32_t)x;
    const float rest = x - (float)whole;
    return whole + (rest >= 0.5f) - (rest <= -0.5f);
}

void ht_quantize_f32_s8(const float *in, float scale, int32_t zero, int8_t *out, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        const int32_t code = round_to_int(in[i] / scale) + zero;
        out[i] = (int8_t)(code < -128 ? -128 : code > 127 ? 127 : code);
    }
}

void ht_dequantize_s16_f32(const int16_t *in, float scale, float *out, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        out[i] = scale * (float)in[i];
    }
}

void ht_dequantize_s8_f32(const int8_t *in, float scale, int32_t zero, float *out, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        out[i] = scale * (float)(in[i] - zero);
    }
}

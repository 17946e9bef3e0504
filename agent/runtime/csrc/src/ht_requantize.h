/* gemmlowp's fixed-point arithmetic with double rounding, as TFLite Micro computes it.
 *
 * Sums that a program could drive beyond int32 wrap: signed overflow is undefined in C, and the
 * reference wraps in practice. */
#ifndef HARDTACK_HT_REQUANTIZE_H
#define HARDTACK_HT_REQUANTIZE_H

#include <stdint.h>

static inline int32_t ht_add_wrapping(int32_t a, int32_t b) {
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

static inline int32_t ht_shift_left(int32_t x, int32_t bits) {
    return (int32_t)((uint32_t)x << bits);
}

/* round(a * b / 2^31), halves up: gemmlowp's SaturatingRoundingDoublingHighMul without its
 * saturation, which only a = b = -2^31 needs. The caller guarantees b > -2^31.
 *
 * gemmlowp adds 2^30 to a product >= 0, else 1 - 2^30, and divides truncating: the same number
 * as adding 2^30 and shifting, since -floor((k + 2^30 - 1) / 2^31) = floor((2^30 - k) / 2^31). */
static inline int32_t ht_doubling_high_mul(int32_t a, int32_t b) {
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
}

/* round(x / 2^exponent), halves away from zero; exponent in [0, 31]. */
static inline int32_t ht_rounding_shift_right(int32_t x, int32_t exponent) {
    const int32_t mask = (int32_t)((UINT32_C(1) << exponent) - 1);
    const int32_t threshold = (mask >> 1) + (x < 0);
    return (x >> exponent) + ((x & mask) > threshold);
}

/* M(x, multiplier, shift) of SPEC section 2: x * multiplier * 2^(shift - 31), rounded twice.
 *
 * multiplier  Q0.31, >= 0
 * shift       in [-31, 30]; left if positive */
static inline int32_t ht_requantize(int32_t x, int32_t multiplier, int32_t shift) {
#if UINTPTR_MAX > 0xFFFFFFFFu /* without branches, for the sake of vectors */
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = shift > 0 ? 0 : -shift;
    return ht_rounding_shift_right(ht_doubling_high_mul(ht_shift_left(x, left), multiplier), right);
#else
    if (shift >= 0) {
        return ht_doubling_high_mul(ht_shift_left(x, shift), multiplier);
    }
    /* Subtracting 1 from what is negative makes "half away from zero" "half up". The product lies
     * within -(2^31 - 1)..2^31 - 2, so neither that nor adding 1 overflows. */
    const int32_t product = ht_doubling_high_mul(x, multiplier);
    return (((product + (product >> 31)) >> ~shift) + 1) >> 1;
#endif
}

static inline int32_t ht_clamp(int32_t x, int32_t low, int32_t high) {
    const int32_t floored = x < low ? low : x;
    return floored > high ? high : floored;
}

static inline int8_t ht_clamp_s8(int32_t x, int32_t low, int32_t high) {
    return (int8_t)ht_clamp(x, low, high);
}

/* The bounds of codes by their type; those of int16 are symmetric. */
#define HT_LEAST_CODE(type) (sizeof(type) == 1 ? -128 : -32767)
#define HT_LARGEST_CODE(type) (sizeof(type) == 1 ? 127 : 32767)

#endif

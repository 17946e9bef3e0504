/* What kernels for Helium (MVE) share, whatever the width of their taps. */
#ifndef HARDTACK_HT_LANES_MVE_H
#define HARDTACK_HT_LANES_MVE_H

#include <arm_mve.h>

HT_INLINE mve_pred16_t ht_first_lanes8(int32_t n) {
    return vctp8q((uint32_t)n);
}

HT_INLINE mve_pred16_t ht_first_lanes32(int32_t n) {
    return vctp32q((uint32_t)n);
}

/* As ht_requantize: 1 less where it is negative and shifted. */
HT_INLINE int32x4_t ht_requantize4(int32x4_t x, int32x4_t mult, int32x4_t shift) {
    const int32x4_t right = vminq_s32(shift, vdupq_n_s32(0));
    x = vqrdmulhq_s32(vshlq_s32(x, vmaxq_s32(shift, vdupq_n_s32(0))), mult);
    return vrshlq_s32(vaddq_s32(x, vshrq_n_s32(vandq_s32(x, right), 31)), right);
}

#endif

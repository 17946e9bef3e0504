/* Cortex-M with Helium (MVE) and taps of 16 bits: eight products are one instruction. */
#ifndef HARDTACK_HT_VECTOR_MVE_S16_H
#define HARDTACK_HT_VECTOR_MVE_S16_H

#include "ht_lanes_mve.h"

typedef int16_t ht_tap;
#define HT_MVE_LOOP "dlstp.16 lr, %[n]\n"
#define HT_MVE_TAPS(vector, pointer) "vldrh.16 " vector ", [%[" pointer "]], #16\n"
#define HT_MVE_WEIGHTS(vector, pointer) "vldrb.s16 " vector ", [%[" pointer "]], #8\n"
#define HT_MVE_ADD(sum, taps, weights) "vmladava.s16 %[" sum "], " taps ", " weights "\n"
#define HT_MVE_POINTER "+l" /* that load moves low registers only */

#include "ht_sums_mve.h"

HT_INLINE void ht_fill_taps(ht_tap *window, int32_t at, int32_t code, int32_t n) {
    for (ht_tap *to = window + at; n > 0; n -= 8, to += 8) {
        vstrhq_p_s16(to, vdupq_n_s16((int16_t)code), vctp16q((uint32_t)n));
    }
}

HT_INLINE void ht_copy_taps_s16(ht_tap *window, int32_t at, const int16_t *codes, int32_t n) {
    for (ht_tap *to = window + at; n > 0; n -= 8, to += 8, codes += 8) {
        const mve_pred16_t some = vctp16q((uint32_t)n);
        vstrhq_p_s16(to, vldrhq_z_s16(codes, some), some);
    }
}

#endif

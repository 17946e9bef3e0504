/* Windows of int16 codes: summed as those of int8, whose taps are int16, too, but on Helium. */
#ifndef HARDTACK_HT_VECTOR_S16_H
#define HARDTACK_HT_VECTOR_S16_H

#define HT_WIDE_TAPS 1
#include "ht_finish_s16.h"
#include "ht_vector.h"

#if !defined(__ARM_FEATURE_MVE) || defined(HT_PORTABLE)
HT_INLINE void ht_copy_taps_s16(ht_tap *window, int32_t at, const int16_t *codes, int32_t n) {
#ifdef HT_PAIRS
    for (; n > 0 && at % 4 != 0; n--, at++) {
        window[ht_tap_slot(at)] = *codes++;
    }
    ht_tap_pair *pairs = (ht_tap_pair *)(window + at);
    at += n & ~3;
    for (; n >= 4; n -= 4, codes += 4) {
        uint32_t first;
        uint32_t second;
        memcpy(&first, codes, 4);
        memcpy(&second, codes + 2, 4);
        *pairs++ = (int32_t)((first & 0xFFFFu) | second << 16);
        *pairs++ = (int32_t)(first >> 16 | (second & 0xFFFF0000u));
    }
#endif
    for (; n > 0; n--, at++) {
        window[ht_tap_slot(at)] = *codes++;
    }
}
#endif

#endif

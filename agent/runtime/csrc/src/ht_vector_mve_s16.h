/* Cortex-M with Helium (MVE) and taps of 16 bits: eight products are one instruction. */
#ifndef HARDTACK_HT_VECTOR_MVE_S16_H
#define HARDTACK_HT_VECTOR_MVE_S16_H

#include "ht_lanes_mve.h"

typedef int16_t ht_tap;

/* Where tap i of a window lies. */
HT_INLINE int32_t ht_tap_slot(int32_t i) {
    return i;
}

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

/* acc[p][k] = bias[k] for two pixels. */
HT_INLINE void ht_start_sums(const int32_t *bias, int32_t lanes, int32_t *acc) {
    for (int32_t k = 0; k < lanes; k++) {
        acc[k] = bias[k];
        acc[HT_LANES + k] = bias[k];
    }
}

/* Two windows and two output channels; s00 s01 belong to the first window. */
HT_INLINE void ht_sum_2x2(const ht_tap *taps, int32_t n, const int8_t *w0, const int8_t *w1,
                          int32_t *acc) {
    const ht_tap *second = taps + HT_WINDOW_TAPS;
    int32_t s00 = acc[0];
    int32_t s01 = acc[1];
    int32_t s10 = acc[HT_LANES];
    int32_t s11 = acc[HT_LANES + 1];
    __asm volatile("dlstp.16 lr, %[n]\n"
                   "1: vldrh.16 q0, [%[taps]], #16\n"
                   "vldrb.s16 q1, [%[w0]], #8\n"
                   "vmladava.s16 %[s00], q0, q1\n"
                   "vldrb.s16 q2, [%[w1]], #8\n"
                   "vmladava.s16 %[s01], q0, q2\n"
                   "vldrh.16 q3, [%[second]], #16\n"
                   "vmladava.s16 %[s10], q3, q1\n"
                   "vmladava.s16 %[s11], q3, q2\n"
                   "letp lr, 1b\n"
                   : [s00] "+Te"(s00), [s01] "+Te"(s01), [s10] "+Te"(s10), [s11] "+Te"(s11),
                     [taps] "+r"(taps), [second] "+r"(second), [w0] "+l"(w0), [w1] "+l"(w1)
                   : [n] "r"(n)
                   : "q0", "q1", "q2", "q3", "lr", "memory");
    acc[0] = s00;
    acc[1] = s01;
    acc[HT_LANES] = s10;
    acc[HT_LANES + 1] = s11;
}

/* The same of one window. */
HT_INLINE void ht_sum_1x2(const ht_tap *taps, int32_t n, const int8_t *w0, const int8_t *w1,
                          int32_t *acc) {
    int32_t s0 = acc[0];
    int32_t s1 = acc[1];
    __asm volatile("dlstp.16 lr, %[n]\n"
                   "1: vldrh.16 q0, [%[taps]], #16\n"
                   "vldrb.s16 q1, [%[w0]], #8\n"
                   "vmladava.s16 %[s0], q0, q1\n"
                   "vldrb.s16 q2, [%[w1]], #8\n"
                   "vmladava.s16 %[s1], q0, q2\n"
                   "letp lr, 1b\n"
                   : [s0] "+Te"(s0), [s1] "+Te"(s1), [taps] "+r"(taps), [w0] "+l"(w0), [w1] "+l"(w1)
                   : [n] "r"(n)
                   : "q0", "q1", "q2", "lr", "memory");
    acc[0] = s0;
    acc[1] = s1;
}

/* windows [pixels][HT_WINDOW_TAPS], n of each   weights [lanes] rows, `row` bytes apart
 * acc [pixels][HT_LANES] */
HT_HOT static void ht_sum_windows(const ht_tap *windows, int32_t pixels, const int8_t *weights,
                                  int32_t row, int32_t n, int32_t lanes, int32_t *acc) {
    if (lanes % 2 != 0) { /* the last channel goes with itself */
        acc[lanes] = 0;
        acc[HT_LANES + lanes] = 0;
    }
    for (const int32_t *last = acc + lanes; acc < last; acc += 2, weights += 2 * row) {
        const int8_t *next = acc + 1 < last ? weights + row : weights;
        if (pixels == 2) {
            ht_sum_2x2(windows, n, weights, next, acc);
        } else {
            ht_sum_1x2(windows, n, weights, next, acc);
        }
    }
}

#endif

/* Sums of products with Helium (MVE), of taps of 8 or 16 bits; what includes this says which.
 *
 * The hardware's loop leaves out the lanes behind the end, which compilers do not know.
 *
 * HT_MVE_LOOP     begins a loop of n taps
 * HT_MVE_TAPS     loads a vector of them from a pointer, and moves it on
 * HT_MVE_WEIGHTS  loads as many weights likewise
 * HT_MVE_ADD      adds the products of two vectors to a sum
 * HT_MVE_POINTER  where a pointer to weights may lie */
#ifndef HARDTACK_HT_SUMS_MVE_H
#define HARDTACK_HT_SUMS_MVE_H

/* Where tap i of a window lies. */
HT_INLINE int32_t ht_tap_slot(int32_t i) {
    return i;
}

/* acc[p][k] = bias[k] for two pixels. */
HT_INLINE void ht_start_sums(const int32_t *bias, int32_t lanes, int32_t *acc) {
    int32_t *second = acc + HT_LANES;
    __asm volatile("wlstp.32 lr, %[lanes], 2f\n"
                   "1: vldrw.32 q0, [%[bias]], #16\n"
                   "vstrw.32 q0, [%[acc]], #16\n"
                   "vstrw.32 q0, [%[second]], #16\n"
                   "letp lr, 1b\n"
                   "2:\n"
                   : [acc] "+r"(acc), [second] "+r"(second), [bias] "+r"(bias)
                   : [lanes] "r"(lanes)
                   : "q0", "lr", "memory");
}

/* Two windows and two output channels; s00 s01 belong to the first window. */
HT_INLINE void ht_sum_2x2(const ht_tap *taps, int32_t n, const int8_t *w0, const int8_t *w1,
                          int32_t *acc) {
    const ht_tap *second = taps + HT_WINDOW_TAPS;
    int32_t s00 = acc[0];
    int32_t s01 = acc[1];
    int32_t s10 = acc[HT_LANES];
    int32_t s11 = acc[HT_LANES + 1];
    /* clang-format off */
    __asm volatile(
        HT_MVE_LOOP
        "1:\n"
        HT_MVE_TAPS("q0", "taps")
        HT_MVE_WEIGHTS("q1", "w0")
        HT_MVE_ADD("s00", "q0", "q1")
        HT_MVE_WEIGHTS("q2", "w1")
        HT_MVE_ADD("s01", "q0", "q2")
        HT_MVE_TAPS("q3", "second")
        HT_MVE_ADD("s10", "q3", "q1")
        HT_MVE_ADD("s11", "q3", "q2")
        "letp lr, 1b\n"
        : [s00] "+Te"(s00), [s01] "+Te"(s01), [s10] "+Te"(s10), [s11] "+Te"(s11),
          [taps] "+r"(taps), [second] "+r"(second), [w0] HT_MVE_POINTER(w0), [w1] HT_MVE_POINTER(w1)
        : [n] "r"(n)
        : "q0", "q1", "q2", "q3", "lr", "memory");
    /* clang-format on */
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
    /* clang-format off */
    __asm volatile(
        HT_MVE_LOOP
        "1:\n"
        HT_MVE_TAPS("q0", "taps")
        HT_MVE_WEIGHTS("q1", "w0")
        HT_MVE_ADD("s0", "q0", "q1")
        HT_MVE_WEIGHTS("q2", "w1")
        HT_MVE_ADD("s1", "q0", "q2")
        "letp lr, 1b\n"
        : [s0] "+Te"(s0), [s1] "+Te"(s1), [taps] "+r"(taps),
          [w0] HT_MVE_POINTER(w0), [w1] HT_MVE_POINTER(w1)
        : [n] "r"(n)
        : "q0", "q1", "q2", "lr", "memory");
    /* clang-format on */
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

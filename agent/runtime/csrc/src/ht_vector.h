/* Inner loops, written once per kind of processor, and the marks that have them compiled well.
 *
 * Kernels sum windows: the taps that one output pixel sees, gathered on the stack in the form that
 * the processor multiplies best (ht_tap). Every header below defines the same functions:
 *
 * ht_tap_slot      where a tap of a window lies in it
 * ht_copy_taps     codes to taps at..at + n of a window
 * ht_fill_taps     the same from one code
 * ht_start_sums    acc = bias, for two windows
 * ht_sum_windows   acc += window . weights, for one or two windows and many output channels
 * ht_sum_channels  acc += image * weights, channel by channel, for several taps
 * ht_finish_lanes  accumulators to output codes */
#ifndef HARDTACK_HT_VECTOR_H
#define HARDTACK_HT_VECTOR_H

#include "hardtack/ht_kernels.h"
#include "ht_requantize.h"

/* HT_MULTIARCH compiles a function for several x86-64 levels; the loader picks one. Levels, for a
 * name such as "haswell" is of that processor alone, not of all that can do as much; but what has
 * 512 bits is left to the one whose compiler options do not use them all the time. Off with
 * HT_PORTABLE, which sanitizers need: their start-up comes after the loader's choice. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) &&       \
    !defined(HT_PORTABLE)
#if __GNUC__ >= 12
#define HT_MULTIARCH                                                                               \
    __attribute__((target_clones("arch=skylake-avx512", "arch=x86-64-v3", "default")))
#else
#define HT_MULTIARCH __attribute__((target_clones("arch=skylake-avx512", "avx2", "default")))
#endif
#elif defined(__OPTIMIZE_SIZE__) && defined(__GNUC__) && !defined(__clang__)
/* A firmware is built for size; these few functions are its time. Loops that copy stay loops: a
 * small C library's memcpy goes byte by byte. */
#define HT_MULTIARCH                                                                               \
    __attribute__((optimize("O2", "no-tree-loop-distribute-patterns", "no-schedule-insns")))
#else
#define HT_MULTIARCH
#endif

/* A loop that gets a function, and the registers, of its own. */
#if defined(__GNUC__)
#define HT_HOT __attribute__((noinline, unused)) HT_MULTIARCH
#else
#define HT_HOT
#endif

#if defined(__GNUC__)
#define HT_INLINE static inline __attribute__((always_inline))
#else
#define HT_INLINE static inline
#endif

/* Vectors and pairs are loaded from it. */
#if defined(__GNUC__)
#define HT_ALIGNED __attribute__((aligned(16)))
#else
#define HT_ALIGNED
#endif

#define HT_PIXELS 2 /* output pixels summed side by side */
/* Output channels summed side by side: 128 bytes of stack for each pixel, or 256 where a window
 * takes half of what it takes elsewhere. */
#if defined(__ARM_FEATURE_MVE) && !defined(HT_PORTABLE) && !defined(HT_WIDE_TAPS)
#define HT_LANES 64
#else
#define HT_LANES 32
#endif

/* Taps of a window that are gathered at a time, a multiple of 16: 512 bytes of stack for each
 * pixel of a microcontroller, 4 KB elsewhere. */
#ifndef HT_WINDOW_TAPS
#if UINTPTR_MAX > 0xFFFFFFFFu
#define HT_WINDOW_TAPS 2048
#else
#define HT_WINDOW_TAPS 256
#endif
#endif

HT_STATIC_ASSERT(sets_of_sparse_rows_fit, HT_LANES >= 32);
HT_STATIC_ASSERT(a_window_is_whole_vectors, HT_WINDOW_TAPS > 0 && HT_WINDOW_TAPS % 16 == 0);

/* out[0..lanes) = the output codes of acc[0..lanes), the accumulators of channels first... */
void ht_finish_s8(const ht_output_stage *stage, const int32_t *acc, int32_t first, int32_t lanes,
                  int8_t *out);

#if defined(__ARM_FEATURE_MVE) && !defined(HT_PORTABLE) && defined(HT_WIDE_TAPS)
#include "ht_vector_mve_s16.h"
#elif defined(__ARM_FEATURE_MVE) && !defined(HT_PORTABLE)
#include "ht_vector_mve.h"
#elif defined(__ARM_FEATURE_DSP) && defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' &&    \
    defined(__GNUC__) && defined(__OPTIMIZE__) && defined(__ARM_FEATURE_UNALIGNED) &&              \
    !defined(HT_PORTABLE)
/* Unoptimised, compilers lack the registers for its assembly, which loads weights unaligned. */
#include "ht_vector_dsp.h"
#else
#include "ht_vector_c.h"
#endif

#endif

/* Runs layers with unpacked and with sparse, packed or binary weights, for benchmarks.sparse: lines
 * `name ticks crc`, ticks being instructions on a board in QEMU, nanoseconds on this machine. */
#include <string.h>

#include "hardtack/ht_crc32.h"
#include "hardtack/ht_golden.h"
#include "hardtack/ht_kernels.h"
#include "sparse_layers.h"

#ifdef HT_BARE_METAL
#include "hardtack/ht_board.h"
#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
/* The counter's prescaler at 1: more than one tick for each instruction. */
#define TICKS REGISTER(FPGAIO_AT + 0x18u)
#define START() (ht_board_start(), REGISTER(FPGAIO_AT + 0x1Cu) = 0)
#define WRITE(text, size) ht_board_write((const uint8_t *)(text), size)
#define REPEATS 1
#else
#include <stdio.h>
#include <time.h>
#define TICKS now()
#define START() (void)0
#define WRITE(text, size) fwrite(text, 1, size, stdout)
#define REPEATS 30 /* the shortest counts */

static uint32_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint32_t)(time.tv_sec * 1000000000 + time.tv_nsec);
}
#endif

static int8_t relu[32 * 32 * 16], signs[32 * 32 * 16], output[32 * 32 * 64], unpacked[128 * 256];
static int32_t bias[128], mult[128];
static int8_t shift[128];

static void print_number(uint32_t value) {
    char digits[11];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    WRITE(digits + at, sizeof digits - at);
}

static void print(const char *name, const char *suffix, uint32_t ticks, size_t size) {
    WRITE(name, strlen(name));
    WRITE(suffix, strlen(suffix));
    WRITE(" ", 1);
    print_number(ticks);
    WRITE(" ", 1);
    print_number(ht_crc32(0, output, size));
    WRITE("\n", 1);
}

static uint32_t compute(const layer *l, ht_conv_2d_kernel *kernel, const int8_t *weights) {
    const ht_dims in_dims = {1, l->size, l->size, l->n_in};
    const ht_dims out_dims = {1, l->size, l->size, l->n_out};
    const ht_window window = {l->kernel, l->kernel, 1, 1, 1, 1, l->kernel / 2, l->kernel / 2};
    const ht_output_stage stage = {mult, shift, 1, -5, -128, 127, 1};
    const int8_t *input = l->form == BINARY ? signs : relu;
    const int32_t zero = l->form == BINARY ? 0 : -128;
    uint32_t least = UINT32_MAX;
    for (int32_t i = 0; i < REPEATS; i++) {
        const uint32_t start = TICKS;
        kernel(input, in_dims, weights, l->n_in, bias, &window, zero, &stage, output, out_dims);
        const uint32_t ticks = TICKS - start;
        least = ticks < least ? ticks : least;
    }
    return least;
}

/* SPEC section 1.7, the codings packed */
static void unpack_packed(const layer *l) {
    const int32_t taps = l->kernel * l->kernel * l->n_in;
    const int32_t bits = l->stored[0];
    const uint8_t *row = l->stored + 1 + (1 << bits);
    for (int32_t i = 0; i < l->n_out * taps; i++) {
        const int32_t tap = i % taps;
        const int32_t index = row[tap * bits / 8] >> tap * bits % 8 & ((1 << bits) - 1);
        unpacked[i] = (int8_t)l->stored[1 + index];
        row += tap == taps - 1 ? (taps * bits + 7) / 8 : 0;
    }
}

/* and sparse. */
static void unpack_sparse(const layer *l) {
    const int32_t taps = l->kernel * l->kernel * l->n_in;
    const uint8_t *at = l->stored;
    memset(unpacked, 0, sizeof unpacked);
    for (int32_t first = 0; first < l->n_out; first += 32) {
        for (int32_t tap = 0; tap < taps; tap += 256) {
            for (int32_t row = first; row < first + 32 && row < l->n_out; row++) {
                for (uint32_t left = *at++; left > 0; left--, at += 2) {
                    unpacked[row * taps + tap + at[0]] = (int8_t)at[1];
                }
            }
        }
    }
}

static void measure(const layer *l) {
    const size_t size = (size_t)(l->size * l->size * l->n_out);
    ht_conv_2d_kernel *const kernels[] = {ht_conv_2d_sparse_s8, ht_conv_2d_packed_s8,
                                          ht_conv_2d_xnor_s8};
    if (l->form == SPARSE) {
        unpack_sparse(l);
    } else {
        unpack_packed(l);
    }
    print(l->name, "_unpacked", compute(l, ht_conv_2d_s8, unpacked), size);
    memset(output, 0, size);
    print(l->name, "_coded", compute(l, kernels[l->form], (const int8_t *)l->stored), size);
    if (l->columns != NULL) {
        const int8_t *columns = (const int8_t *)l->columns;
        memset(output, 0, size);
        print(l->name, "_columns", compute(l, ht_fully_connected_columns_s8, columns), size);
    }
}

/* 200000 instructions, which tell how many a tick is. */
static void calibrate(void) {
    const uint32_t start = TICKS;
#ifdef HT_BARE_METAL
    uint32_t left = 100000;
    __asm volatile(".syntax unified\n1: subs %0, %0, #1\n bne 1b" : "+r"(left) : : "cc");
#endif
    print("calibration", "", TICKS - start, 0);
}

int main(void) {
    uint32_t state = 1;
    START();
    ht_golden_fill(&state, relu, sizeof relu);
    for (size_t i = 0; i < sizeof relu; i++) {
        signs[i] = (int8_t)(relu[i] == 0 ? 0 : relu[i] < 0 ? -127 : 127); /* a few zeros */
        relu[i] = relu[i] < 0 ? -128 : relu[i];                           /* as ReLU leaves it */
    }
    for (int32_t i = 0; i < 128; i++) {
        state = state * 1664525u + 1013904223u;
        bias[i] = (int32_t)(state >> 18);
        mult[i] = (int32_t)(state >> 2) | 1 << 30;
        shift[i] = (int8_t)(-8 - (int32_t)(state >> 30));
    }
    calibrate();
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        measure(&layers[i]);
    }
    print("end", "", 0, 0);
    return 0;
}

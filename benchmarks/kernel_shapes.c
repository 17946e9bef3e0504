/* Firmware that counts the instructions of single kernels and of Huffman decoding, for
 * benchmarks.microcontroller: QEMU with -icount makes the board's counter a count of instructions.
 *
 * It prints lines `name ticks crc`; compiled for this machine it prints the same checksums. */
#include <string.h>

#include "hardtack/ht_crc32.h"
#include "hardtack/ht_golden.h"
#include "hardtack/ht_huffman.h"
#include "hardtack/ht_kernels.h"
#include "huffman_stream.h"

#ifdef HT_BARE_METAL
#include "hardtack/ht_board.h"
#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
/* The counter's prescaler at 1: more than one tick for each instruction. */
#define TICKS REGISTER(FPGAIO_AT + 0x18u)
#define START() (ht_board_start(), REGISTER(FPGAIO_AT + 0x1Cu) = 0)
#define WRITE(text, size) ht_board_write((const uint8_t *)(text), size)
#else
#include <stdio.h>
#define TICKS 0u
#define START() (void)0
#define WRITE(text, size) fwrite(text, 1, size, stdout)
#endif

typedef enum kind { CONV, DEPTHWISE } kind;

typedef struct shape {
    const char *name;
    kind kind;
    int32_t h, w, c, n_out, kernel_h, kernel_w, stride, pad_top, pad_left;
} shape;

/* MLPerf Tiny's layers. */
static const shape shapes[] = {
    {"conv_10x4x1", CONV, 49, 10, 1, 64, 10, 4, 2, 4, 1},
    {"dw_3x3_25x5x64", DEPTHWISE, 25, 5, 64, 64, 3, 3, 1, 1, 1},
    {"pw_64_25x5", CONV, 25, 5, 64, 64, 1, 1, 1, 0, 0},
    {"conv_3x3x16", CONV, 32, 32, 16, 16, 3, 3, 1, 1, 1},
    {"conv_3x3x3", CONV, 32, 32, 3, 16, 3, 3, 1, 1, 1},
    {"dw_3x3_12x12x64", DEPTHWISE, 12, 12, 64, 64, 3, 3, 1, 1, 1},
    {"pw_128_6x6", CONV, 6, 6, 128, 128, 1, 1, 1, 0, 0},
    {"fc_640_128", CONV, 1, 1, 640, 128, 1, 1, 1, 0, 0},
};

static int8_t input[16384], output[16384], weights[81920];
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

static void print(const char *name, uint32_t ticks, const void *bytes, size_t size) {
    WRITE(name, strlen(name));
    WRITE(" ", 1);
    print_number(ticks);
    WRITE(" ", 1);
    print_number(ht_crc32(0, bytes, size));
    WRITE("\n", 1);
}

static int32_t steps(int32_t size, int32_t stride) {
    return (size + stride - 1) / stride; /* padding is the same everywhere */
}

static uint32_t compute(const shape *s, ht_dims out_dims) {
    const ht_dims in_dims = {1, s->h, s->w, s->c};
    const ht_window window = {.kernel_h = s->kernel_h,
                              .kernel_w = s->kernel_w,
                              .stride_h = s->stride,
                              .stride_w = s->stride,
                              .dilation_h = 1,
                              .dilation_w = 1,
                              .pad_top = s->pad_top,
                              .pad_left = s->pad_left};
    const ht_output_stage stage = {mult, shift, 1, -5, -128, 127, 1};
    const uint32_t start = TICKS;
    if (s->kind == DEPTHWISE) {
        ht_depthwise_conv_2d_s8(input, in_dims, weights, bias, &window, -7, &stage, output,
                                out_dims);
    } else {
        ht_conv_2d_s8(input, in_dims, weights, s->c, bias, &window, -7, &stage, output, out_dims);
    }
    return TICKS - start;
}

static void measure_shape(const shape *s) {
    const ht_dims out_dims = {1, steps(s->h, s->stride), steps(s->w, s->stride), s->n_out};
    const uint32_t ticks = compute(s, out_dims);
    print(s->name, ticks, output, (size_t)(out_dims.h * out_dims.w * out_dims.c));
}

static ht_full_decoder decoder;
static ht_gap_decoders gap_decoders;

static void measure_huffman(const char *name, const uint8_t *table, size_t table_size,
                            const uint8_t *stream, size_t size) {
    const uint32_t start = TICKS;
    (void)ht_huffman_build(table, table_size, &decoder);
    (void)ht_huffman_decode_dense(&decoder.decoder, stream, size, output, HUFFMAN_SYMBOLS);
    print(name, TICKS - start, output, HUFFMAN_SYMBOLS);
}

static void measure_gaps(const char *name, const uint8_t *gaps_table, size_t gaps_size,
                         const uint8_t *table, size_t table_size, const uint8_t *stream,
                         size_t size) {
    const uint32_t start = TICKS;
    (void)ht_huffman_build_gap(table, table_size, gaps_table, gaps_size, &gap_decoders);
    (void)ht_huffman_decode_gap(&gap_decoders, stream, size, output, HUFFMAN_SYMBOLS);
    print(name, TICKS - start, output, HUFFMAN_SYMBOLS);
}

/* 200000 instructions, which tell how many a tick is. */
static void calibrate(void) {
    const uint32_t start = TICKS;
#ifdef HT_BARE_METAL
    uint32_t left = 100000;
    __asm volatile("1: subs %0, %0, #1\n bne 1b" : "+r"(left) : : "cc");
#endif
    print("calibration", TICKS - start, "", 0);
}

int main(void) {
    uint32_t state = 1;
    START();
    ht_golden_fill(&state, input, sizeof input);
    ht_golden_fill(&state, weights, sizeof weights);
    for (int32_t i = 0; i < 128; i++) {
        state = state * 1664525u + 1013904223u;
        bias[i] = (int32_t)(state >> 18);
        mult[i] = (int32_t)(state >> 2) | 1 << 30;
        shift[i] = (int8_t)(-8 - (int32_t)(state >> 30));
    }
    calibrate();
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        measure_shape(&shapes[i]);
    }
    measure_huffman("laplace", laplace_table, sizeof laplace_table, laplace_stream,
                    sizeof laplace_stream);
    measure_huffman("kws_weights", kws_weights_table, sizeof kws_weights_table, kws_weights_stream,
                    sizeof kws_weights_stream);
    measure_gaps("pruned", pruned_gaps, sizeof pruned_gaps, pruned_table, sizeof pruned_table,
                 pruned_stream, sizeof pruned_stream);
    measure_gaps("thinned", thinned_gaps, sizeof thinned_gaps, thinned_table, sizeof thinned_table,
                 thinned_stream, sizeof thinned_stream);
    print("end", 0, "", 0);
    return 0;
}

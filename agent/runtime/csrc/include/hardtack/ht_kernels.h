/* The kernels: one function per operator, those of int8 bit-equal to TFLite Micro's.
 *
 * Kernels know no bundle and check nothing: the caller guarantees what each comment demands (the
 * interpreter checks it once, when a model is opened). Activations are [H][W][C], C innermost.
 * No kernel needs scratch memory. Outputs do not overlap inputs, except that lookup, add and mul
 * may write exactly over an input of the output's size. */
#ifndef HARDTACK_HT_KERNELS_H
#define HARDTACK_HT_KERNELS_H

#include <stdint.h>

#include "hardtack/ht_status.h"

typedef struct ht_dims {
    int32_t n, h, w, c;
} ht_dims;

/* How accumulators become output codes: clamp(M(acc, mult, shift) + out_zero). */
typedef struct ht_output_stage {
    const int32_t *mult; /* Q0.31, >= 0: one, or one per output channel */
    const int8_t *shift; /* in [-31, 30], as many */
    int32_t per_channel; /* 0: mult[0], shift[0] serve all; 1: one per channel */
    int32_t out_zero;    /* in [-128, 127] */
    int32_t act_min;     /* in [-128, 127], <= act_max */
    int32_t act_max;     /* in [-128, 127] */
    int32_t out_size;    /* bytes of an output code, 1 or 2; only kernels of s16 ask */
} ht_output_stage;

typedef struct ht_window {
    int32_t kernel_h, kernel_w;     /* taps, >= 1 */
    int32_t stride_h, stride_w;     /* 1..65535 */
    int32_t dilation_h, dilation_w; /* 1..65535; pooling ignores them */
    int32_t pad_top, pad_left;      /* 0..65535 */
} ht_window;

/* acc[o] = bias[o] + sum over all taps and channels of in * w, a tap outside the image reading
 * in_zero; bias already holds -in_zero * sum(w).
 *
 * in      int8 [H][W][C]
 * weights int8 [O][KH][KW][C / groups]   bias int32 [O]
 * out     int8 [OH][OW][O]
 *
 * taps * 2^14 + |bias| < 2^31, so no accumulator overflows. */
typedef void ht_conv_2d_kernel(const int8_t *in, ht_dims in_dims, const int8_t *weights,
                               int32_t group_c, const int32_t *bias, const ht_window *window,
                               int32_t in_zero, const ht_output_stage *stage, int8_t *out,
                               ht_dims out_dims);
ht_conv_2d_kernel ht_conv_2d_s8;

/* The same without groups, a weight being low + 256 * high, in all acc within int32.
 *
 * low  int8 [O][KH][KW][C]   high  the same, coded as sparse (SPEC section 1.7) */
typedef void ht_conv_2d_split_kernel(const int8_t *in, ht_dims in_dims, const int8_t *low,
                                     const uint8_t *high, const int32_t *bias,
                                     const ht_window *window, int32_t in_zero,
                                     const ht_output_stage *stage, int8_t *out, ht_dims out_dims);
ht_conv_2d_split_kernel ht_conv_2d_split_s8;

/* As conv_2d, weights being coded as sparse (SPEC section 1.7) and used where they lie. */
ht_conv_2d_kernel ht_conv_2d_sparse_s8;

/* The same, weights being coded as packed. */
ht_conv_2d_kernel ht_conv_2d_packed_s8;

/* The same, faster where they are two of one magnitude, and the inputs of one or 0. */
ht_conv_2d_kernel ht_conv_2d_xnor_s8;

/* The same of windows of one tap without padding, the pixels of an image one high: a
 * fully_connected; weights being coded as sparse-columns. */
ht_conv_2d_kernel ht_fully_connected_columns_s8;

/* As conv_2d, output channel o reading only input channel o / (O / C).
 *
 * weights int8 [KH][KW][O] */
void ht_depthwise_conv_2d_s8(const int8_t *in, ht_dims in_dims, const int8_t *weights,
                             const int32_t *bias, const ht_window *window, int32_t in_zero,
                             const ht_output_stage *stage, int8_t *out, ht_dims out_dims);

/* One operand of add: M((x - zero) << left_shift, mult, shift). */
typedef struct ht_operand {
    const void *codes; /* int8, or int16 of kernels of s16 */
    ht_dims dims;      /* 1 where the output's dim is repeated */
    int32_t zero;      /* in [-128, 127] */
    int32_t mult;      /* Q0.31, >= 0 */
    int32_t shift;     /* in [-31, 30] */
} ht_operand;

typedef struct ht_add_params {
    int32_t left_shift; /* in [0, 22] */
    int32_t out_mult;   /* Q0.31, >= 0 */
    int32_t out_shift;  /* in [-31, 30] */
    int32_t out_zero, act_min, act_max;
    int32_t sign; /* 1: a + b, -1: a - b */
} ht_add_params;

/* out = clamp(M(A + sign * B, out_mult, out_shift) + out_zero), A and B the rescaled operands. */
void ht_add_s8(const ht_operand *a, const ht_operand *b, const ht_add_params *params, int8_t *out,
               ht_dims out_dims);

/* out = clamp(M((a - a_zero) * (b - b_zero), mult, shift) + out_zero); the operands' own mult and
 * shift are not used. stage holds one multiplier. */
void ht_mul_s8(const ht_operand *a, const ht_operand *b, const ht_output_stage *stage, int8_t *out,
               ht_dims out_dims);

/* Copy one input [outer][n] into its columns of out [outer][row]. */
void ht_concat_s8(const int8_t *in, int32_t outer, int32_t n, int8_t *out, int32_t row);

/* Surround with `value`: out[i + before] = in[i]. */
void ht_pad_s8(const int8_t *in, ht_dims in_dims, ht_dims before, int8_t value, int8_t *out,
               ht_dims out_dims);

/* Largest code of each window, the window clipped to the image (it covers at least one element). */
void ht_max_pool_2d_s8(const int8_t *in, ht_dims in_dims, const ht_window *window, int32_t act_min,
                       int32_t act_max, int8_t *out, ht_dims out_dims);

/* Mean code of each clipped window, halves away from zero. kernel_h * kernel_w <= 2^22. */
void ht_average_pool_2d_s8(const int8_t *in, ht_dims in_dims, const ht_window *window,
                           int32_t act_min, int32_t act_max, int8_t *out, ht_dims out_dims);

typedef struct ht_mean_params {
    int32_t outer, count, inner; /* count <= 2^22 */
    int32_t in_zero;
    int32_t mult, shift; /* 1 / count is inside them */
    int32_t out_zero;
} ht_mean_params;

/* out[o][i] = sat(M(sum over k of in[o][k][i] - count * in_zero, mult, shift) + out_zero). */
void ht_mean_s8(const int8_t *in, const ht_mean_params *params, int8_t *out);

/* out dim i is in dim perm[i]; perm is a permutation of 0..3. */
void ht_transpose_s8(const int8_t *in, ht_dims in_dims, const int32_t perm[4], int8_t *out);

typedef struct ht_softmax_params {
    int32_t rows, depth; /* depth in [1, 4095]: the sum of exponentials has 12 integer bits */
    int32_t mult;        /* Q0.31, >= 0 */
    int32_t shift;       /* in [0, 31], and max(diff_min, -255) * 2^shift >= -2^31 */
    int32_t diff_min;    /* <= 0; differences below count as exp(x) = 0 */
} ht_softmax_params;

/* Softmax of each row: scale 1/256, zero point -128. */
void ht_softmax_s8(const int8_t *in, const ht_softmax_params *params, int8_t *out);

/* out[i] = table[in[i] + 128]. */
void ht_lookup_s8(const int8_t *in, const int8_t table[256], int8_t *out, int32_t n);

/* ---- Wide activations: int16 codes, symmetric, -32767..32767 with zero point 0. The arithmetic is
 * the same, and so are the accumulators of 32 bits. */

/* out = clamp(M(in - in_zero, mult, shift) + out_zero), codes of in_size bytes, 1 or 2, to codes of
 * stage->out_size bytes; stage holds one multiplier. */
void ht_rescale(const int8_t *in, int32_t in_size, int32_t in_zero, const ht_output_stage *stage,
                int8_t *out, int32_t n);

/* As ht_conv_2d_s8. Results are int8, or int16 where stage->out_size is 2.
 *
 * For each output channel sum |w| * 2^15 + |bias| < 2^31, so no accumulator overflows. */
void ht_conv_2d_s16(const int16_t *in, ht_dims in_dims, const int8_t *weights, int32_t group_c,
                    const int32_t *bias, const ht_window *window, int32_t in_zero,
                    const ht_output_stage *stage, int8_t *out, ht_dims out_dims);

/* The same from int8 to int16. */
ht_conv_2d_kernel ht_conv_2d_s8_s16;

void ht_depthwise_conv_2d_s16(const int16_t *in, ht_dims in_dims, const int8_t *weights,
                              const int32_t *bias, const ht_window *window, int32_t in_zero,
                              const ht_output_stage *stage, int8_t *out, ht_dims out_dims);

/* These as their twins of int8; left_shift is at most 15, a pool or mean sums at most 2^15 codes.
 */
void ht_add_s16(const ht_operand *a, const ht_operand *b, const ht_add_params *params, int16_t *out,
                ht_dims out_dims);
void ht_mul_s16(const ht_operand *a, const ht_operand *b, const ht_output_stage *stage,
                int16_t *out, ht_dims out_dims);
void ht_concat_s16(const int16_t *in, int32_t outer, int32_t n, int16_t *out, int32_t row);
void ht_pad_s16(const int16_t *in, ht_dims in_dims, ht_dims before, int16_t value, int16_t *out,
                ht_dims out_dims);
void ht_max_pool_2d_s16(const int16_t *in, ht_dims in_dims, const ht_window *window,
                        int32_t act_min, int32_t act_max, int16_t *out, ht_dims out_dims);
void ht_average_pool_2d_s16(const int16_t *in, ht_dims in_dims, const ht_window *window,
                            int32_t act_min, int32_t act_max, int16_t *out, ht_dims out_dims);
void ht_mean_s16(const int16_t *in, const ht_mean_params *params, int16_t *out);
void ht_transpose_s16(const int16_t *in, ht_dims in_dims, const int32_t perm[4], int16_t *out);

/* ---- The edges of a model */

/* code = clamp(round(x / scale) + zero), halves away from zero, in float as TFLite Micro's
 * Quantize; NaN gives the zero point. */
HT_API void ht_quantize_f32_s8(const float *in, float scale, int32_t zero, int8_t *out, int32_t n);

/* x = scale * (code - zero). */
HT_API void ht_dequantize_s8_f32(const int8_t *in, float scale, int32_t zero, float *out,
                                 int32_t n);
HT_API void ht_dequantize_s16_f32(const int16_t *in, float scale, float *out, int32_t n);

#endif

/* Sum of two tensors, dims of 1 repeated.
 *
 * A kernel defines CODE, the type of the codes, and KERNEL, its name, before it includes this. */
#include "hardtack/ht_kernels.h"
#include "ht_broadcast.h"
#include "ht_requantize.h"

static int32_t rescale(const ht_operand *x, int32_t code, int32_t left_shift) {
    return ht_requantize(ht_shift_left(code - x->zero, left_shift), x->mult, x->shift);
}

static int32_t add_codes(const ht_operand *a, const ht_operand *b, const ht_add_params *params,
                         int32_t a_code, int32_t b_code) {
    const int32_t b_part = rescale(b, b_code, params->left_shift);
    const int32_t sum =
        ht_add_wrapping(rescale(a, a_code, params->left_shift),
                        params->sign < 0 ? (int32_t)(0u - (uint32_t)b_part) : b_part);
    const int32_t scaled = ht_requantize(sum, params->out_mult, params->out_shift);
    return ht_clamp(ht_add_wrapping(scaled, params->out_zero), params->act_min, params->act_max);
}

void KERNEL(const ht_operand *a, const ht_operand *b, const ht_add_params *params, CODE *out,
            ht_dims out_dims) {
    const ht_dims a_steps = ht_steps(a->dims);
    const ht_dims b_steps = ht_steps(b->dims);
    for (int32_t n = 0; n < out_dims.n; n++) {
        for (int32_t h = 0; h < out_dims.h; h++) {
            for (int32_t w = 0; w < out_dims.w; w++) {
                const CODE *a_row = (const CODE *)a->codes + ht_row_at(a_steps, n, h, w);
                const CODE *b_row = (const CODE *)b->codes + ht_row_at(b_steps, n, h, w);
                for (int32_t c = 0; c < out_dims.c; c++) {
                    *out++ =
                        (CODE)add_codes(a, b, params, a_row[c * a_steps.c], b_row[c * b_steps.c]);
                }
            }
        }
    }
}

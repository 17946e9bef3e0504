/* Product of two tensors, dims of 1 repeated.
 *
 * A kernel defines CODE, the type of the codes, and KERNEL, its name, before it includes this. */
#include "hardtack/ht_kernels.h"
#include "ht_broadcast.h"
#include "ht_requantize.h"

void KERNEL(const ht_operand *a, const ht_operand *b, const ht_output_stage *stage, CODE *out,
            ht_dims out_dims) {
    const ht_dims a_steps = ht_steps(a->dims);
    const ht_dims b_steps = ht_steps(b->dims);
    for (int32_t n = 0; n < out_dims.n; n++) {
        for (int32_t h = 0; h < out_dims.h; h++) {
            for (int32_t w = 0; w < out_dims.w; w++) {
                const CODE *a_row = (const CODE *)a->codes + ht_row_at(a_steps, n, h, w);
                const CODE *b_row = (const CODE *)b->codes + ht_row_at(b_steps, n, h, w);
                for (int32_t c = 0; c < out_dims.c; c++) {
                    const int32_t product =
                        (a_row[c * a_steps.c] - a->zero) * (b_row[c * b_steps.c] - b->zero);
                    const int32_t scaled = ht_requantize(product, stage->mult[0], stage->shift[0]);
                    *out++ = (CODE)ht_clamp(ht_add_wrapping(scaled, stage->out_zero),
                                            stage->act_min, stage->act_max);
                }
            }
        }
    }
}

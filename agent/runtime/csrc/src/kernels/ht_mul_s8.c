#include "../ht_broadcast.h"
#include "../ht_requantize.h"
#include "hardtack/ht_kernels.h"

void ht_mul_s8(const ht_operand *a, const ht_operand *b, const ht_output_stage *stage, int8_t *out,
               ht_dims out_dims) {
    const ht_dims a_steps = ht_steps(a->dims);
    const ht_dims b_steps = ht_steps(b->dims);
    for (int32_t n = 0; n < out_dims.n; n++) {
        for (int32_t h = 0; h < out_dims.h; h++) {
            for (int32_t w = 0; w < out_dims.w; w++) {
                const int8_t *a_row = a->codes + ht_row_at(a_steps, n, h, w);
                const int8_t *b_row = b->codes + ht_row_at(b_steps, n, h, w);
                for (int32_t c = 0; c < out_dims.c; c++) {
                    const int32_t product =
                        (a_row[c * a_steps.c] - a->zero) * (b_row[c * b_steps.c] - b->zero);
                    const int32_t scaled = ht_requantize(product, stage->mult[0], stage->shift[0]);
                    *out++ = ht_clamp_s8(ht_add_wrapping(scaled, stage->out_zero), stage->act_min,
                                         stage->act_max);
                }
            }
        }
    }
}

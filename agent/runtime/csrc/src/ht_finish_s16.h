/* Results of a convolution that may be int16: included before what sums them. */
#ifndef HARDTACK_HT_FINISH_S16_H
#define HARDTACK_HT_FINISH_S16_H

#include "hardtack/ht_kernels.h"

/* As ht_finish_s8, to codes of stage->out_size bytes. */
void ht_finish_s16(const ht_output_stage *stage, const int32_t *acc, int32_t first, int32_t lanes,
                   int8_t *out);

#define OUT_AT(stage, out, n) ((out) + (n) * (stage)->out_size)
#define FINISH ht_finish_s16

#endif

/* What max_pool_2d and average_pool_2d share. */
#ifndef HARDTACK_HT_POOLING_H
#define HARDTACK_HT_POOLING_H

#include "ht_check.h"

typedef void (*ht_pool_kernel)(const int8_t *in, ht_dims in_dims, const ht_window *window,
                               int32_t act_min, int32_t act_max, int8_t *out, ht_dims out_dims);

ht_status ht_pooling_check(const ht_bundle *bundle, const ht_operator *op);
void ht_pooling_run(ht_model *model, const ht_operator *op, ht_pool_kernel kernel);

#endif

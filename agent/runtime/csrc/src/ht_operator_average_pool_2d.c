#include "ht_pooling.h"

static void run(ht_model *model, const ht_operator *op) {
    ht_pooling_run(model, op, ht_average_pool_2d_s8);
}

const ht_operator_entry ht_operator_average_pool_2d = {ht_pooling_check, NULL, run, 0x1, 1};

/* Every operator there is. A project's own table takes this file's place. */
#include "hardtack/ht_operators.h"

#include <stddef.h>

const ht_operator_entry *const ht_operators[HT_OPERATORS] = {
    NULL,
    &ht_operator_conv_2d,
    &ht_operator_depthwise_conv_2d,
    &ht_operator_fully_connected,
    &ht_operator_add,
    &ht_operator_mul,
    &ht_operator_concat,
    &ht_operator_pad,
    &ht_operator_max_pool_2d,
    &ht_operator_average_pool_2d,
    &ht_operator_mean,
    &ht_operator_transpose,
    &ht_operator_softmax,
    &ht_operator_lookup,
    &ht_operator_rescale,
    &ht_operator_conv_2d_s16,
    &ht_operator_depthwise_conv_2d_s16,
    &ht_operator_fully_connected_s16,
    &ht_operator_add_s16,
    &ht_operator_mul_s16,
    &ht_operator_concat_s16,
    &ht_operator_pad_s16,
    &ht_operator_max_pool_2d_s16,
    &ht_operator_average_pool_2d_s16,
    &ht_operator_mean_s16,
    &ht_operator_transpose_s16,
};

const ht_in_place_entry *const ht_in_place[HT_IN_PLACE_END - HT_SPARSE] = {
    [HT_SPARSE - HT_SPARSE] = &ht_in_place_sparse,
    [HT_PACKED - HT_SPARSE] = &ht_in_place_xnor,
    [HT_SPARSE_COLUMNS - HT_SPARSE] = &ht_in_place_sparse_columns,
};

const ht_split_entry *const ht_split = &ht_split_planes;

#include "ht_operator.h"
#include "ht_sparse.h"

const ht_split_entry ht_split_planes = {ht_sparse_check, ht_sparse_peak, ht_conv_2d_split_s8};

#include "ht_operator.h"
#include "ht_sparse.h"

const ht_in_place_entry ht_in_place_sparse = {ht_sparse_check, ht_conv_2d_sparse_s8};

#include "ht_operator.h"
#include "ht_sparse.h"

const ht_in_place_entry ht_in_place_sparse_columns = {ht_sparse_columns_check,
                                                      ht_fully_connected_columns_s8};

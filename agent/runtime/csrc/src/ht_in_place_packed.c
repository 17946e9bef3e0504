#include "ht_operator.h"
#include "ht_packed.h"

const ht_in_place_entry ht_in_place_packed = {ht_packed_check, ht_conv_2d_packed_s8};

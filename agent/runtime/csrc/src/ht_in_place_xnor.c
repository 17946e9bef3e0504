#include "ht_operator.h"
#include "ht_packed.h"

const ht_in_place_entry ht_in_place_xnor = {ht_packed_check, ht_conv_2d_xnor_s8};

#define CODE int8_t
#define CODES HT_CODES8
#define KERNEL ht_average_pool_2d_s8
#include "ht_operator_pool.h"

const ht_operator_entry ht_operator_average_pool_2d = {check, NULL, run, 0x1, 1};

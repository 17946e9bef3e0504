#define CODE int8_t
#define CODES HT_CODES8
#define KERNEL ht_mean_s8
#include "ht_operator_mean.h"

const ht_operator_entry ht_operator_mean = {check, NULL, run, 0x1, 1};

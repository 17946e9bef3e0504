#define CODE int8_t
#define CODES HT_CODES8
#define KERNEL ht_mul_s8
#include "ht_operator_mul.h"

const ht_operator_entry ht_operator_mul = {check, NULL, run, 0x3, 2};

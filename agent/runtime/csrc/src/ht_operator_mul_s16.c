#define CODE int16_t
#define CODES HT_CODES16
#define KERNEL ht_mul_s16
#include "ht_operator_mul.h"

const ht_operator_entry ht_operator_mul_s16 = {check, NULL, run, 0x3, 2};

#define CODE int8_t
#define CODES HT_CODES8
#define KERNEL ht_add_s8
#include "ht_operator_add.h"

const ht_operator_entry ht_operator_add = {check, NULL, run, 0x3, 2};

#define CODE int16_t
#define CODES HT_CODES16
#define KERNEL ht_add_s16
#include "ht_operator_add.h"

const ht_operator_entry ht_operator_add_s16 = {check, NULL, run, 0x3, 2};

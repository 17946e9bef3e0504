#define CODE int8_t
#define CODES HT_CODES8
#define KERNEL ht_concat_s8
#include "ht_operator_concat.h"

const ht_operator_entry ht_operator_concat = {check, NULL, run, HT_FROM_FIELD(2), 0};

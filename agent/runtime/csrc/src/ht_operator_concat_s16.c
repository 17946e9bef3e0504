#define CODE int16_t
#define CODES HT_CODES16
#define KERNEL ht_concat_s16
#include "ht_operator_concat.h"

const ht_operator_entry ht_operator_concat_s16 = {check, NULL, run, HT_FROM_FIELD(2), 0};

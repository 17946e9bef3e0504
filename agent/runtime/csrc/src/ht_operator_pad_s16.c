#define CODE int16_t
#define CODES HT_CODES16
#define KERNEL ht_pad_s16
#include "ht_operator_pad.h"

const ht_operator_entry ht_operator_pad_s16 = {check, NULL, run, 0x1, 1};

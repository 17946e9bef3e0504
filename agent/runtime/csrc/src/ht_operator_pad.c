#define CODE int8_t
#define CODES HT_CODES8
#define KERNEL ht_pad_s8
#include "ht_operator_pad.h"

const ht_operator_entry ht_operator_pad = {check, NULL, run, 0x1, 1};

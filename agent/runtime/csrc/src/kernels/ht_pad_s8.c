#define CODE int8_t
#define KERNEL ht_pad_s8
#include "../ht_pad.h"

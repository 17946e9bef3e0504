#define CODE int16_t
#define KERNEL ht_pad_s16
#include "../ht_pad.h"

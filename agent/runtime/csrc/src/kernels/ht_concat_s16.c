#define CODE int16_t
#define KERNEL ht_concat_s16
#include "../ht_concat.h"

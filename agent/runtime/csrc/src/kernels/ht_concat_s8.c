#define CODE int8_t
#define KERNEL ht_concat_s8
#include "../ht_concat.h"

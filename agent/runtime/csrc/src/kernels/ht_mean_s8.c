#define CODE int8_t
#define KERNEL ht_mean_s8
#include "../ht_mean.h"

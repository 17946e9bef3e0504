#define CODE int16_t
#define KERNEL ht_mean_s16
#include "../ht_mean.h"

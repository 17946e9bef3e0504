#define CODE int16_t
#define KERNEL ht_max_pool_2d_s16
#include "../ht_max_pool_2d.h"

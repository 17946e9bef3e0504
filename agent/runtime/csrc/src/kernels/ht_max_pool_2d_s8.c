#define CODE int8_t
#define KERNEL ht_max_pool_2d_s8
#include "../ht_max_pool_2d.h"

#define CODE int8_t
#define KERNEL ht_average_pool_2d_s8
#include "../ht_average_pool_2d.h"

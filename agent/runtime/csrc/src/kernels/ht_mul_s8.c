#define CODE int8_t
#define KERNEL ht_mul_s8
#include "../ht_mul.h"

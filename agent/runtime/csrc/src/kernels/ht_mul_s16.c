#define CODE int16_t
#define KERNEL ht_mul_s16
#include "../ht_mul.h"

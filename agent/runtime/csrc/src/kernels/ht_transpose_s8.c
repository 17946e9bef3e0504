#define CODE int8_t
#define KERNEL ht_transpose_s8
#include "../ht_transpose.h"

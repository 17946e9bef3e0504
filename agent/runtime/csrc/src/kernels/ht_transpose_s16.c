#define CODE int16_t
#define KERNEL ht_transpose_s16
#include "../ht_transpose.h"

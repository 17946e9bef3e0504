#define CODE int8_t
#define KERNEL ht_add_s8
#include "../ht_add.h"

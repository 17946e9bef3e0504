#define CODE int16_t
#define KERNEL ht_add_s16
#include "../ht_add.h"

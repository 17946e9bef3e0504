#define CODE int8_t
#define KERNEL ht_depthwise_conv_2d_s8
#define SUM_CHANNELS ht_sum_channels
#include "../ht_depthwise_conv_2d.h"

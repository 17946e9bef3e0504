/* The last step of conv_2d, depthwise_conv_2d and fully_connected. */
#include "../ht_vector.h"

HT_MULTIARCH
void ht_finish_s8(const ht_output_stage *stage, const int32_t *acc, int32_t first, int32_t lanes,
                  int8_t *out) {
    if (stage->per_channel) {
        ht_finish_lanes(stage, acc, stage->mult + first, stage->shift + first, 1, lanes, out);
    } else {
        ht_finish_lanes(stage, acc, stage->mult, stage->shift, 0, lanes, out);
    }
}

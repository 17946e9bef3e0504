/* The last step of the convolutions of wide activations. */
#include "../ht_finish_s16.h"

#include "../ht_vector.h"

HT_MULTIARCH
void ht_finish_s16(const ht_output_stage *stage, const int32_t *acc, int32_t first, int32_t lanes,
                   int8_t *out) {
    const int32_t step = stage->per_channel ? 1 : 0;
    const int32_t *mult = stage->mult + first * step;
    const int8_t *shift = stage->shift + first * step;
    int16_t *wide = (int16_t *)(void *)out;
    for (int32_t k = 0; k < lanes; k++) {
        const int32_t scaled = ht_requantize(acc[k], mult[k * step], shift[k * step]);
        const int32_t code =
            ht_clamp(ht_add_wrapping(scaled, stage->out_zero), stage->act_min, stage->act_max);
        if (stage->out_size == 2) {
            wide[k] = (int16_t)code;
        } else {
            out[k] = (int8_t)code;
        }
    }
}

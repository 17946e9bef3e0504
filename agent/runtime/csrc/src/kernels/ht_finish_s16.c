/* The last step of the convolutions of wide activations. */
#include "../ht_finish_s16.h"

#include "../ht_vector.h"

#if defined(__ARM_FEATURE_MVE) && !defined(HT_PORTABLE)

HT_MULTIARCH
void ht_finish_s16(const ht_output_stage *stage, const int32_t *acc, int32_t first, int32_t lanes,
                   int8_t *out) {
    const int32_t step = stage->per_channel ? 1 : 0;
    const int32_t *mult = stage->mult + first * step;
    const int8_t *shift = stage->shift + first * step;
    const int32x4_t low = vdupq_n_s32(stage->act_min);
    const int32x4_t high = vdupq_n_s32(stage->act_max);
    const int32_t zero = stage->out_zero;
    const int32_t size = stage->out_size;
    int32x4_t m = vdupq_n_s32(*mult);
    int32x4_t s = vdupq_n_s32(*shift);
    for (; lanes > 0; lanes -= 4, acc += 4, out += 4 * size, mult += 4 * step, shift += 4 * step) {
        const mve_pred16_t some = ht_first_lanes32(lanes);
        if (step != 0) {
            m = vldrwq_z_s32(mult, some);
            s = vldrbq_z_s32(shift, some);
        }
        const int32x4_t x = vaddq_n_s32(ht_requantize4(vldrwq_z_s32(acc, some), m, s), zero);
        const int32x4_t codes = vminq_s32(vmaxq_s32(x, low), high);
        if (size == 2) {
            vstrhq_p_s32((int16_t *)(void *)out, codes, some);
        } else {
            vstrbq_p_s32(out, codes, some);
        }
    }
}

#else

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

#endif

#include "../ht_vector.h"
#include "hardtack/ht_kernels.h"

#define TAP ht_tap
#define COPY_TAPS ht_copy_taps
#define FILL_TAPS ht_fill_taps
#include "../ht_gather.h"

/* The output pixels under way, and what they are summed with. */
typedef struct block {
    const int8_t *weights; /* of output channel 0 */
    const int32_t *bias;
    const ht_output_stage *stage;
    int32_t filter; /* taps of a window */
    int32_t n_out;
} block;

/* Sum one group's windows of one or two pixels: as many output channels at a time as there are
 * lanes, as many taps as a window's buffer holds. */
HT_INLINE void sum_group(const job *j, const block *b, const place *places, int32_t pixels,
                         int32_t begin, int32_t end, int8_t *out) {
    HT_ALIGNED ht_tap windows[HT_PIXELS * HT_WINDOW_TAPS];
    int32_t acc[HT_PIXELS * HT_LANES];
    for (int32_t first = begin; first < end; first += HT_LANES) {
        const int32_t lanes = end - first < HT_LANES ? end - first : HT_LANES;
        ht_start_sums(b->bias + first, lanes, acc);
        const int8_t *weights = b->weights + first * b->filter;
        for (int32_t at = 0; at < b->filter; at += HT_WINDOW_TAPS) {
            const int32_t left = b->filter - at;
            const int32_t n = left < HT_WINDOW_TAPS ? left : HT_WINDOW_TAPS;
            for (int32_t p = 0; p < pixels && (first == begin || b->filter > n); p++) {
                gather(j, places[p], at, n, windows + p * HT_WINDOW_TAPS);
            }
            ht_sum_windows(windows, pixels, weights + at, b->filter, n, lanes, acc);
        }
        for (int32_t p = 0; p < pixels; p++) {
            ht_finish_s8(b->stage, acc + p * HT_LANES, first, lanes, out + p * b->n_out + first);
        }
    }
}

HT_MULTIARCH
void ht_conv_2d_s8(const int8_t *in, ht_dims in_dims, const int8_t *weights, int32_t group_c,
                   const int32_t *bias, const ht_window *window, int32_t in_zero,
                   const ht_output_stage *stage, int8_t *out, ht_dims out_dims) {
    const job j = {in, window, in_dims, group_c, in_zero};
    const block b = {weights, bias, stage, window->kernel_h * window->kernel_w * group_c,
                     out_dims.c};
    const int32_t groups = in_dims.c / group_c;
    const int32_t per_group = out_dims.c / groups;
    const int32_t total = out_dims.h * out_dims.w;
    int32_t oy = 0;
    int32_t ox = 0;
    for (int32_t done = 0; done < total; done += HT_PIXELS) {
        const int32_t pixels = total - done < HT_PIXELS ? total - done : HT_PIXELS;
        place places[HT_PIXELS];
        find_places(&j, out_dims.w, pixels, &oy, &ox, places);
        for (int32_t g = 0; g < groups; g++) {
            places[0].channel = g * group_c;
            places[HT_PIXELS - 1].channel = g * group_c;
            sum_group(&j, &b, places, pixels, g * per_group, (g + 1) * per_group, out);
        }
        out += pixels * out_dims.c;
    }
}

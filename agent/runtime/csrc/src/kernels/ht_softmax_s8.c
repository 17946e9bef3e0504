#include "../ht_requantize.h"
#include "hardtack/ht_kernels.h"

/* Fixed point after gemmlowp. Qm.f below has m integer and f = 31 - m fractional bits. */

/* exp(a) for a in [-1/4, 0), Q0.31: Taylor's polynomial around -1/8, of degree 4. */
static int32_t exp_of_quarter(int32_t a) {
    const int32_t exp_of_minus_eighth = 1895147668;
    const int32_t third = 715827883;
    const int32_t x = a + (1 << 28);
    const int32_t x2 = ht_doubling_high_mul(x, x);
    const int32_t x3 = ht_doubling_high_mul(x2, x);
    const int32_t x4 = ht_doubling_high_mul(x2, x2);
    const int32_t x4_over_4 = ht_rounding_shift_right(x4, 2);
    const int32_t tail = ht_rounding_shift_right(ht_doubling_high_mul(x4_over_4 + x3, third) + x2,
                                                 1); /* x^4/24 + x^3/6 + x^2/2 */
    return exp_of_minus_eighth + ht_doubling_high_mul(exp_of_minus_eighth, x + tail);
}

/* exp(a) for a <= 0 in Q5.26, as Q0.31: the part below 1/4 by polynomial, then one factor per
 * bit of the rest. */
static int32_t exp_of_negative(int32_t a) {
    static const int32_t factor[7] = {1672461947, 1302514674, 790015084, 290630308,
                                      39332535,   720401,     242}; /* exp(-2^k), k = -2..4 */
    const int32_t quarter = 1 << 24;
    if (a == 0) {
        return INT32_MAX;
    }
    const int32_t fraction = (a & (quarter - 1)) - quarter;
    const int32_t rest = fraction - a;
    int32_t result = exp_of_quarter(ht_shift_left(fraction, 5));
    for (int32_t k = 0; k < 7; k++) {
        if (rest & ht_shift_left(quarter, k)) {
            result = ht_doubling_high_mul(result, factor[k]);
        }
    }
    return result;
}

static int32_t leading_zeros(uint32_t x) {
    int32_t zeros = 0;
    for (uint32_t bit = UINT32_C(1) << 31; bit != 0 && (x & bit) == 0; bit >>= 1) {
        zeros++;
    }
    return zeros;
}

/* Shift left, saturating. */
static int32_t saturating_shift_left(int32_t x, int32_t bits) {
    const int32_t limit = (int32_t)((UINT32_C(1) << (31 - bits)) - 1);
    if (x > limit) {
        return INT32_MAX;
    }
    return x < -limit ? INT32_MIN : ht_shift_left(x, bits);
}

/* 1 / (1 + a) for a in [0, 1), Q0.31: three steps of Newton and Raphson in Q2.29. */
static int32_t reciprocal_of_one_plus(int32_t a) {
    const int32_t half_denominator = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2);
    int32_t x = 1515870810 + ht_doubling_high_mul(half_denominator, -1010580540); /* 48/17, 32/17 */
    for (int32_t i = 0; i < 3; i++) {
        const int32_t error = (1 << 29) - ht_doubling_high_mul(half_denominator, x);
        x += saturating_shift_left(ht_doubling_high_mul(x, error), 2);
    }
    return saturating_shift_left(x, 1);
}

static int32_t scaled_difference(const ht_softmax_params *params, int32_t difference) {
    return ht_doubling_high_mul(ht_shift_left(difference, params->shift), params->mult);
}

static int32_t largest(const int8_t *row, int32_t depth) {
    int32_t best = -128;
    for (int32_t i = 0; i < depth; i++) {
        best = row[i] > best ? row[i] : best;
    }
    return best;
}

static void softmax_row(const int8_t *in, const ht_softmax_params *params, int8_t *out) {
    const int32_t best = largest(in, params->depth);
    int32_t sum = 0; /* Q12.19, at least exp(0) */
    for (int32_t i = 0; i < params->depth; i++) {
        const int32_t difference = in[i] - best;
        if (difference >= params->diff_min) {
            const int32_t power = exp_of_negative(scaled_difference(params, difference));
            sum += ht_rounding_shift_right(power, 12);
        }
    }
    const int32_t headroom = leading_zeros((uint32_t)sum);
    const int32_t one_plus = (int32_t)(((uint32_t)sum << headroom) - (UINT32_C(1) << 31));
    const int32_t scale = reciprocal_of_one_plus(one_plus);
    const int32_t exponent = 12 - headroom + 31 - 8;
    for (int32_t i = 0; i < params->depth; i++) {
        const int32_t difference = in[i] - best;
        out[i] = -128;
        if (difference >= params->diff_min && exponent <= 31) { /* beyond, it rounds to 0 */
            const int32_t power = exp_of_negative(scaled_difference(params, difference));
            const int32_t share = ht_doubling_high_mul(scale, power);
            out[i] = ht_clamp_s8(ht_rounding_shift_right(share, exponent) - 128, -128, 127);
        }
    }
}

void ht_softmax_s8(const int8_t *in, const ht_softmax_params *params, int8_t *out) {
    for (int32_t row = 0; row < params->rows; row++) {
        softmax_row(in, params, out);
        in += params->depth;
        out += params->depth;
    }
}

/* What the encoder and the decoder of `ctx` share: the model and its walk over a tensor.
 *
 * The file that includes this defines before
 *
 *     typedef struct coder coder;
 *     static int code_bit(coder *coder, uint32_t p, int bit);
 *
 * which codes one decision, p being the probability of a 1 in units of 2^-16. The encoder's writes
 * `bit`; the decoder's takes no notice of it. Both return what the decision is. */
#ifndef HARDTACK_HT_CTX_MODEL_H
#define HARDTACK_HT_CTX_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "hardtack/ht_status.h"

#define INPUTS 3        /* contexts mixed for one decision, at most */
#define COLUMN_REACH 32 /* rows above that an element looks at in its own column, */
#define AROUND_REACH 4  /* and in the columns beside it */
#define LARGEST_EXPONENT 7
#define LARGEST_SUM ((1 << 30) - 1) /* twice that is still an int32 */
#define ONE 65536                   /* probability 1 */

/* Contexts by what they are for; the numbers are those of SPEC section 1.9. */
enum {
    BY_COLUMN = 0,                      /* non-zero? column 7 x density 7 x left 2 */
    BY_AROUND = BY_COLUMN + 98,         /* non-zero? around 9 x column 5 */
    BY_NEIGHBOURS = BY_AROUND + 45,     /* non-zero? five elements before */
    SIGN_BY_THREE = BY_NEIGHBOURS + 32, /* positive? left 3 x above 3 x lag 3 */
    SIGN_BY_TWO = SIGN_BY_THREE + 27,   /* positive? lag 3 x above 3 */
    SIZE_BY_NEAR = SIGN_BY_TWO + 9,     /* larger? exponent 7 x neighbours 6 */
    SIZE_BY_ROW = SIZE_BY_NEAR + 42,    /* larger? exponent 7 x row 8 */
    MANTISSA = SIZE_BY_ROW + 56,        /* upper two bits: exponent 7 x prefix 3 */
    CONTEXTS = MANTISSA + 21
};

/* Sets of weights, each beginning at one of these. */
enum { ZERO_WEIGHTS = 0, SIGN_WEIGHTS = 3, SIZE_WEIGHTS = 5, WEIGHTS = 11 };

typedef struct model {
    uint16_t p[CONTEXTS];    /* of a 1, in 2^-16 */
    int16_t weight[WEIGHTS]; /* in 2^-14 */
    uint8_t seen[CONTEXTS];  /* decisions, at most 255 */
} model;

/* Where an element lies, and what is known around it. */
typedef struct place {
    const int8_t *codes;
    int32_t row, column, columns, lag;
    int32_t density;      /* non-zero elements among the last 16 or so, times 1024 */
    int32_t row_nonzeros; /* in this row, so far */
    int32_t row_sum;      /* of their magnitudes */
} place;

/* ---- Arithmetic: natural logarithms in 2^-10, probabilities in 2^-16 */

static int32_t log2_of(uint32_t x) { /* of 1..65535, in 2^-12 */
    static const uint16_t mantissas[33] = {0,    182,  358,  530,  696,  858,  1016, 1169, 1319,
                                           1465, 1607, 1746, 1882, 2015, 2145, 2272, 2396, 2518,
                                           2637, 2754, 2869, 2982, 3092, 3200, 3307, 3412, 3514,
                                           3615, 3715, 3812, 3908, 4003, 4096};
    int32_t exponent = 15;
    while (x < 32768) {
        x <<= 1;
        exponent--;
    }
    const uint32_t i = x >> 10 & 31;
    const int32_t step = mantissas[i + 1] - mantissas[i];
    return exponent * 4096 + mantissas[i] + (step * (int32_t)(x & 1023) >> 10);
}

static int32_t stretch(uint32_t p) { /* ln(p / (1 - p)) */
    return (log2_of(p) - log2_of(ONE - p)) * 2839 / 16384;
}

static uint32_t squash(int32_t x) { /* 1 / (1 + exp(-x)) */
    static const uint16_t values[33] = {
        22,    36,    60,    98,    162,   267,   439,   720,   1179,  1921,  3108,
        4971,  7812,  11955, 17625, 24743, 32768, 40793, 47911, 53581, 57724, 60565,
        62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514};
    x = x > 8191 ? 8191 : x < -8191 ? -8191 : x;
    const int32_t i = (x + 8192) >> 9;
    const int32_t step = values[i + 1] - values[i];
    return (uint32_t)(values[i] + (step * ((x + 8192) & 511) >> 9));
}

static int32_t at_most(int32_t x, int32_t limit) {
    return x < limit ? x : limit;
}

/* 0 for 0, else 1 + floor(log2 x). */
static int32_t bits_of(int32_t x) {
    int32_t bits = 0;
    for (; x > 0; x >>= 1) {
        bits++;
    }
    return bits;
}

/* ---- One decision */

static void reset(model *m) {
    for (int i = 0; i < CONTEXTS; i++) {
        m->p[i] = ONE / 2;
        m->seen[i] = 0;
    }
    for (int i = 0; i < WEIGHTS; i++) {
        m->weight[i] = 6000;
    }
}

/* Move a context's probability towards what was decided: far at first, by 1/256 in the end. */
static void learn(model *m, uint32_t context, int bit) {
    const int32_t away = (bit ? ONE - 1 : 0) - m->p[context];
    const int32_t p = m->p[context] + 2 * away / (2 * m->seen[context] + 3);
    m->p[context] = (uint16_t)(p < 16 ? 16 : at_most(p, ONE - 17));
    m->seen[context] = (uint8_t)(m->seen[context] + (m->seen[context] < 255));
}

/* Mix the contexts' predictions by weights, code, and let both learn. */
static int decide(coder *coder, model *m, const uint32_t *contexts, int inputs, int16_t *weight,
                  int bit) {
    int32_t logits[INPUTS];
    int32_t sum = 0;
    for (int i = 0; i < inputs; i++) {
        logits[i] = stretch(m->p[contexts[i]]);
        sum += weight[i] * logits[i];
    }
    const uint32_t p = squash(sum / 16384);
    bit = code_bit(coder, p, bit);
    const int32_t error = (bit ? ONE : 0) - (int32_t)p;
    for (int i = 0; i < inputs; i++) {
        const int32_t moved = weight[i] + error / 16 * logits[i] / 1024 * 12 / 512;
        weight[i] = (int16_t)(moved < -32767 ? -32767 : at_most(moved, 32767));
        learn(m, contexts[i], bit);
    }
    return bit;
}

static int decide_by_one(coder *coder, model *m, uint32_t context, int bit) {
    bit = code_bit(coder, m->p[context], bit);
    learn(m, context, bit);
    return bit;
}

/* ---- What is known around an element */

static int32_t code_at(const place *here, int32_t up, int32_t column) {
    if (up > here->row || column < 0 || column >= here->columns) {
        return 0;
    }
    return here->codes[(here->row - up) * here->columns + column];
}

static int32_t magnitude_at(const place *here, int32_t up, int32_t column) {
    const int32_t code = code_at(here, up, column);
    return code < 0 ? -code : code;
}

static uint32_t sign_at(const place *here, int32_t up, int32_t column) {
    const int32_t code = code_at(here, up, column);
    return code < 0 ? 0 : code == 0 ? 1 : 2;
}

/* Elements other than zero above, as if there were as many rows as it reaches. */
static int32_t count_above(const place *here, int32_t column, int32_t reach) {
    const int32_t rows = at_most(here->row, reach);
    int32_t count = 0;
    if (column >= 0 && column < here->columns) {
        const int8_t *code = here->codes + here->row * here->columns + column;
        for (int32_t i = 0; i < rows; i++) {
            code -= here->columns;
            count += *code != 0;
        }
    }
    return count;
}

static int32_t scale_up(int32_t count, int32_t row, int32_t reach) {
    return row > 0 && row < reach ? count * reach / row : count;
}

static int code_nonzero(coder *coder, model *m, const place *here, int bit) {
    const int32_t c = here->column;
    const int32_t lag = here->lag;
    const int left = code_at(here, 0, c - 1) != 0;
    const int32_t column =
        bits_of(scale_up(count_above(here, c, COLUMN_REACH), here->row, COLUMN_REACH));
    int32_t around =
        count_above(here, c - 1, AROUND_REACH) + count_above(here, c + 1, AROUND_REACH) +
        count_above(here, c - lag, AROUND_REACH) + count_above(here, c + lag, AROUND_REACH);
    around = 2 * scale_up(around, here->row, AROUND_REACH);
    around = around < 8 ? around : at_most(6 + around / 4, 8);
    const int32_t density = at_most(bits_of(here->density / 256), 6);
    const uint32_t before = (uint32_t)(code_at(here, 0, c - lag) != 0) << 4 |
                            (uint32_t)(code_at(here, 0, c - 2 * lag) != 0) << 3 |
                            (uint32_t)left << 2 |
                            (uint32_t)(code_at(here, 0, c - lag - 1) != 0) << 1 |
                            (uint32_t)(code_at(here, 0, c - lag + 1) != 0);
    const uint32_t contexts[3] = {
        BY_COLUMN + (uint32_t)((column * 7 + density) * 2 + left),
        BY_AROUND + (uint32_t)(around * 5 + at_most(column, 4)),
        BY_NEIGHBOURS + before,
    };
    return decide(coder, m, contexts, 3, m->weight + ZERO_WEIGHTS, bit);
}

static int code_sign(coder *coder, model *m, const place *here, int bit) {
    const uint32_t left = sign_at(here, 0, here->column - 1);
    const uint32_t above = sign_at(here, 1, here->column);
    const uint32_t lag = sign_at(here, 0, here->column - here->lag);
    const uint32_t contexts[2] = {SIGN_BY_THREE + left * 9 + above * 3 + lag,
                                  SIGN_BY_TWO + lag * 3 + above};
    return decide(coder, m, contexts, 2, m->weight + SIGN_WEIGHTS, bit);
}

/* Code a magnitude of 1..255: its exponent one by one, then the bits below. */
static int32_t code_magnitude(coder *coder, model *m, const place *here, int32_t magnitude) {
    const int32_t c = here->column;
    const int32_t near = magnitude_at(here, 0, c - 1) + magnitude_at(here, 1, c) +
                         magnitude_at(here, 0, c - here->lag) + magnitude_at(here, 0, c - 2);
    const int32_t others = here->row_nonzeros;
    const uint32_t by_near = SIZE_BY_NEAR + (uint32_t)at_most(bits_of(near), 5);
    const uint32_t by_row =
        SIZE_BY_ROW + (uint32_t)(others > 0 ? at_most(bits_of(here->row_sum * 2 / others), 7) : 0);
    uint32_t exponent = 0;
    while (exponent < LARGEST_EXPONENT) {
        const uint32_t contexts[2] = {by_near + exponent * 6, by_row + exponent * 8};
        int16_t *weight = m->weight + SIZE_WEIGHTS + 2 * (exponent < 2 ? exponent : 2);
        if (!decide(coder, m, contexts, 2, weight, magnitude >> (exponent + 1) != 0)) {
            break;
        }
        exponent++;
    }
    uint32_t prefix = 1;
    for (uint32_t left = exponent; left > 0; left--) {
        const int bit = magnitude >> (left - 1) & 1;
        const int modelled = exponent - left < 2;
        const uint32_t context = MANTISSA + (exponent - 1) * 3 + (prefix - 1);
        prefix = prefix << 1 | (uint32_t)(modelled ? decide_by_one(coder, m, context, bit)
                                                   : code_bit(coder, ONE / 2, bit));
    }
    return (int32_t)prefix;
}

/* Code one element; the encoder gives it, the decoder gives 0. Returns it: -255..255. */
static int32_t code_element(coder *coder, model *m, place *here, int32_t element) {
    if (!code_nonzero(coder, m, here, element != 0)) {
        return 0;
    }
    const int positive = code_sign(coder, m, here, element > 0);
    const int32_t magnitude = code_magnitude(coder, m, here, element < 0 ? -element : element);
    here->row_nonzeros++;
    here->row_sum = at_most(here->row_sum + magnitude, LARGEST_SUM);
    return positive ? magnitude : -magnitude;
}

/* Code all elements in order. Returns 0 when one is no int8. */
static int code_tensor(coder *coder, int8_t *codes, int32_t rows, int32_t columns, int32_t lag,
                       int reading) {
    model m;
    place here = {.codes = codes, .columns = columns, .lag = lag};
    reset(&m);
    for (int32_t row = 0; row < rows; row++) {
        here.row = row;
        here.row_nonzeros = 0;
        here.row_sum = 0;
        for (int32_t column = 0; column < columns; column++) {
            int8_t *code = codes + row * columns + column;
            here.column = column;
            const int32_t element = code_element(coder, &m, &here, reading ? 0 : *code);
            if (element < -128 || element > 127) {
                return 0;
            }
            here.density += (element != 0 ? 1024 : 0) - here.density / 16;
            if (reading) {
                *code = (int8_t)element;
            }
        }
    }
    return 1;
}

#endif

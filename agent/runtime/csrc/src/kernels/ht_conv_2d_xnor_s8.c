/* Binary weights over inputs of one magnitude: 32 or 64 products are an exclusive or and a count of
 * ones (Rastegari 2016, arXiv 1603.05279). The sums are those of any other kernel: what the inputs
 * are is looked at before each run, and inputs of several magnitudes are summed as packed weights
 * are. A tap of 0, such as padding, adds nothing: a second plane of bits leaves it out. */
#include <string.h>

#include "../ht_load.h"
#include "../ht_packed.h"
#include "../ht_vector.h"
#include "hardtack/ht_kernels.h"

#if UINTPTR_MAX > 0xFFFFFFFFu
typedef uint64_t word;
#else
typedef uint32_t word;
#endif

#define WORD_BITS ((int32_t)(8 * sizeof(word)))
#define CODES ((int32_t)sizeof(word)) /* codes in a word, and bits that they become */
#define TAPS (8 * HT_WINDOW_TAPS)     /* bits of a window gathered at a time */
#define ALL ((word) ~(word)0)
#define LOWEST (ALL / 0xFF) /* bit 0 of each byte */

HT_STATIC_ASSERT(a_window_is_whole_words, TAPS % 64 == 0);

/* The taps of a window as bits. */
typedef struct bits {
    word negative[TAPS / WORD_BITS];
    word present[TAPS / WORD_BITS]; /* those that are not 0 */
    int32_t count;                  /* of those */
    int has_zeros;                  /* may a code of the image be 0? */
} bits;

HT_INLINE word load_word(const uint8_t *p) {
#if UINTPTR_MAX > 0xFFFFFFFFu
    return load32_le(p) | (word)load32_le(p + 4) << 32;
#else
    return load32_le(p);
#endif
}

/* ---- Codes to bits */

/* Bit 7 of each byte, side by side from bit 0 on. */
HT_INLINE word top_bits(word x) {
#if UINTPTR_MAX > 0xFFFFFFFFu
    return (x & LOWEST << 7) * UINT64_C(0x0002040810204081) >> 56;
#else
    return (x & LOWEST << 7) * UINT32_C(0x00204081) >> 28;
#endif
}

/* Bit 7 of each byte that is not 0. */
HT_INLINE word mark_present(word x) {
    const word low = LOWEST * 0x7F;
    return ((x & low) + low) | x;
}

HT_INLINE void put(bits *b, int32_t at, word negative, word present) {
    b->negative[at / WORD_BITS] |= negative << at % WORD_BITS;
    b->present[at / WORD_BITS] |= present << at % WORD_BITS;
}

HT_INLINE void put_codes(bits *b, int32_t at, const int8_t *codes) {
    const word x = load_word((const uint8_t *)codes);
    const word all = ((word)1 << CODES) - 1;
    put(b, at, top_bits(x), b->has_zeros ? top_bits(mark_present(x)) : all);
}

/* Codes to bits at..at + n of a window whose bits are 0. */
HT_INLINE void copy_bits(bits *b, int32_t at, const int8_t *codes, int32_t n) {
    for (; n > 0 && at % CODES != 0; n--, at++, codes++) {
        put(b, at, *codes < 0, *codes != 0);
    }
    for (; n >= CODES; n -= CODES, at += CODES, codes += CODES) {
        put_codes(b, at, codes);
    }
    for (; n > 0; n--, at++, codes++) {
        put(b, at, *codes < 0, *codes != 0);
    }
}

HT_INLINE void fill_bits(bits *b, int32_t at, int32_t code, int32_t n) {
    for (const int32_t end = at + n; code != 0 && at < end; at++) {
        put(b, at, code < 0, 1);
    }
}

#define TAP bits
#define COPY_TAPS copy_bits
#define FILL_TAPS fill_bits
#include "../ht_gather.h"

/* ---- Counting ones */

#if (defined(__x86_64__) || defined(__aarch64__)) && defined(__GNUC__)
#define BLOCK INT32_MAX /* words that are counted before sums are folded */

HT_INLINE word ones_of(word x) {
    return (word)__builtin_popcountll(x);
}

HT_INLINE int32_t folded(word count) {
    return (int32_t)count;
}
#else
#define BLOCK 31 /* of 8 ones each, a byte counts */

/* The ones of each byte. */
HT_INLINE word ones_of(word x) {
    const word pairs = x - (x >> 1 & ALL / 3);
    const word nibbles = (pairs & ALL / 5) + (pairs >> 2 & ALL / 5);
    return (nibbles + (nibbles >> 4)) & ALL / 17;
}

/* The sum of the bytes. */
HT_INLINE int32_t folded(word count) {
    const word halves = (count & ALL / 0x101) + (count >> 8 & ALL / 0x101);
    return (int32_t)(halves * (ALL / 0xFFFF) >> (WORD_BITS - 16));
}
#endif

/* The bits that are left behind the last whole word. */
HT_INLINE word load_rest(const uint8_t *p, int32_t n) {
    word rest = 0;
    for (int32_t i = 0; i < n; i += 8) {
        rest |= (word)p[i / 8] << i;
    }
    return rest;
}

/* ones[p] = products > 0 of window p and a row of n weights, bits that are 1 for the larger. */
HT_INLINE void count_row(const bits *windows, const uint8_t *row, int32_t n, int32_t pixels,
                         int masked, int32_t *ones) {
    const int32_t words = n / WORD_BITS;
    int32_t i = 0;
    ones[0] = 0;
    ones[1] = 0;
    while (i < words) {
        const int32_t end = words - i < BLOCK ? words : i + BLOCK;
        word count0 = 0;
        word count1 = 0;
        for (; i < end; i++, row += sizeof(word)) {
            const word w = load_word(row);
            const word x = w ^ windows[0].negative[i];
            count0 += ones_of(masked ? x & windows[0].present[i] : x);
            if (pixels == 2) {
                const word y = w ^ windows[1].negative[i];
                count1 += ones_of(masked ? y & windows[1].present[i] : y);
            }
        }
        ones[0] += folded(count0);
        ones[1] += folded(count1);
    }
    if (n % WORD_BITS != 0) {
        const word w = load_rest(row, n % WORD_BITS);
        ones[0] += folded(ones_of((w ^ windows[0].negative[i]) & windows[0].present[i]));
        ones[1] += folded(ones_of((w ^ windows[1].negative[i]) & windows[1].present[i]));
    }
}

/* What one run multiplies with. */
typedef struct operands {
    ht_packed packed;
    const int32_t *bias;
    const ht_output_stage *stage;
    int32_t product; /* of the larger weight and the inputs' magnitude */
    int32_t filter;
    int32_t n_out;
} operands;

HT_INLINE void sum_rows(const operands *o, const bits *windows, const uint8_t *row, int32_t n,
                        int32_t pixels, int masked, int32_t lanes, int32_t *acc) {
    for (int32_t k = 0; k < lanes; k++, row += o->packed.row_bytes) {
        int32_t ones[HT_PIXELS];
        count_row(windows, row, n, pixels, masked, ones);
        acc[k] += o->product * (2 * ones[0] - windows[0].count);
        acc[HT_LANES + k] += o->product * (2 * ones[1] - windows[1].count);
    }
}

/* acc += windows . rows that begin here, n taps of each; a loop for each case. */
HT_HOT static void sum_bits(const operands *o, const bits *windows, const uint8_t *row, int32_t n,
                            int32_t pixels, int32_t lanes, int32_t *acc) {
    const int masked = windows[0].count < n || (pixels == 2 && windows[1].count < n);
    if (pixels == 1) {
        sum_rows(o, windows, row, n, 1, 1, lanes, acc);
    } else if (masked) {
        sum_rows(o, windows, row, n, 2, 1, lanes, acc);
    } else {
        sum_rows(o, windows, row, n, 2, 0, lanes, acc);
    }
}

/* ---- Convolution */

/* Taps first..first + n of a window. */
HT_HOT static void gather_bits(const job *j, const place *from, int32_t first, int32_t n,
                               bits *window) {
    const size_t words = (size_t)(n + WORD_BITS - 1) / (size_t)WORD_BITS;
    memset(window->negative, 0, words * sizeof(word));
    memset(window->present, 0, words * sizeof(word));
    gather(j, *from, first, n, window);
    window->count = 0;
    for (size_t i = 0; i < words; i++) {
        window->count += folded(ones_of(window->present[i]));
    }
}

HT_INLINE void sum_group(const job *j, const operands *o, const place *places, int32_t pixels,
                         int32_t begin, int32_t end, bits *windows, int8_t *out) {
    int32_t acc[HT_PIXELS * HT_LANES];
    for (int32_t first = begin; first < end; first += HT_LANES) {
        const int32_t lanes = end - first < HT_LANES ? end - first : HT_LANES;
        ht_start_sums(o->bias + first, lanes, acc);
        for (int32_t at = 0; at < o->filter; at += TAPS) {
            const int32_t n = o->filter - at < TAPS ? o->filter - at : TAPS;
            for (int32_t p = 0; p < pixels && (first == begin || o->filter > n); p++) {
                gather_bits(j, &places[p], at, n, &windows[p]);
            }
            const uint8_t *row = o->packed.rows + (uint32_t)first * o->packed.row_bytes;
            sum_bits(o, windows, row + at / 8, n, pixels, lanes, acc);
        }
        for (int32_t p = 0; p < pixels; p++) {
            ht_finish_s8(o->stage, acc + p * HT_LANES, first, lanes, out + p * o->n_out + first);
        }
    }
}

/* Every output pixel. Apart from the kernel, whose other way needs the stack too. */
HT_HOT static void convolve(const job *j, const operands *o, int has_zeros, ht_dims out_dims,
                            int8_t *out) {
    const int32_t groups = j->in_dims.c / j->group_c;
    const int32_t per_group = out_dims.c / groups;
    const int32_t total = out_dims.h * out_dims.w;
    bits windows[HT_PIXELS];
    int32_t oy = 0;
    int32_t ox = 0;
    memset(windows, 0, sizeof windows);
    windows[0].has_zeros = has_zeros;
    windows[1].has_zeros = has_zeros;
    for (int32_t done = 0; done < total; done += HT_PIXELS) {
        const int32_t pixels = total - done < HT_PIXELS ? total - done : HT_PIXELS;
        place places[HT_PIXELS];
        find_places(j, out_dims.w, pixels, &oy, &ox, places);
        for (int32_t g = 0; g < groups; g++) {
            places[0].channel = g * j->group_c;
            places[HT_PIXELS - 1].channel = g * j->group_c;
            sum_group(j, o, places, pixels, g * per_group, (g + 1) * per_group, windows, out);
        }
        out += pixels * out_dims.c;
    }
}

/* ---- What the inputs are */

HT_INLINE int32_t size_of(int32_t code) {
    return code < 0 ? -code : code;
}

/* The magnitude that all codes have but those that are 0; -1 where there are several. */
HT_HOT static int32_t find_magnitude(const int8_t *codes, int32_t n, int *has_zeros) {
    int32_t size = 0;
    int32_t i = 0;
    *has_zeros = 0;
    while (i < n) {
        if (i + CODES <= n && size != 0) {
            const word x = load_word((const uint8_t *)codes + i);
            const word negative = x >> 7 & LOWEST;
            if ((x ^ negative * 0xFF) + negative == LOWEST * (word)size) {
                i += CODES;
                continue;
            }
        }
        const int32_t code = size_of(codes[i++]);
        size = size != 0 ? size : code;
        if (code != 0 && code != size) {
            return -1;
        }
        *has_zeros |= code == 0;
    }
    return size;
}

void ht_conv_2d_xnor_s8(const int8_t *in, ht_dims in_dims, const int8_t *weights, int32_t group_c,
                        const int32_t *bias, const ht_window *window, int32_t in_zero,
                        const ht_output_stage *stage, int8_t *out, ht_dims out_dims) {
    const int32_t filter = window->kernel_h * window->kernel_w * group_c;
    const ht_packed packed = ht_packed_read((const uint8_t *)weights, filter);
    int has_zeros = 0;
    int32_t size = -1;
    if (packed.bits == 1 && packed.book[0] == -packed.book[1]) {
        size = find_magnitude(in, in_dims.h * in_dims.w * in_dims.c, &has_zeros);
    }
    if (size < 0 || (in_zero != 0 && size_of(in_zero) != size)) {
        ht_conv_2d_packed_s8(in, in_dims, weights, group_c, bias, window, in_zero, stage, out,
                             out_dims);
        return;
    }
    const job j = {in, window, in_dims, group_c, in_zero};
    const operands o = {packed, bias, stage, packed.book[1] * size, filter, out_dims.c};
    convolve(&j, &o, has_zeros, out_dims, out);
}

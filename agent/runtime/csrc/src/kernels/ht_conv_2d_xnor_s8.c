/* Binary weights over inputs of one magnitude: 32 or 64 products are an exclusive or and a count of
 * ones (Rastegari 2016, arXiv 1603.05279). The sums are those of any other kernel: what the inputs
 * are is looked at before each run, and inputs of several magnitudes are summed as packed weights
 * are. A tap of 0, such as padding, adds nothing: a second plane of bits leaves it out. */
#include "../ht_load.h"
#include "../ht_packed.h"
#include "../ht_vector.h"
#include "hardtack/ht_kernels.h"

#if UINTPTR_MAX > 0xFFFFFFFFu
typedef uint64_t word;
#else
typedef uint32_t word;
#endif

#define WORD_BITS (8 * (int32_t)sizeof(word))
#define CODES ((int32_t)sizeof(word)) /* in a word */
#define TAPS (8 * HT_WINDOW_TAPS)     /* bits of a window gathered at a time */
#define ALL ((word) ~(word)0)
#define LOWEST (ALL / 0xFF) /* bit 0 of each byte */

HT_STATIC_ASSERT(a_window_is_whole_words, TAPS % 64 == 0);

/* The taps of a window as bits. */
typedef struct bits {
    word negative[TAPS / WORD_BITS];
    word present[TAPS / WORD_BITS]; /* those that are not 0, if masked */
    int32_t count;                  /* of those */
    int is_masked;                  /* may there be taps of 0? */
} bits;

HT_INLINE word load_word(const uint8_t *p) {
#if UINTPTR_MAX > 0xFFFFFFFFu
    return load32_le(p) | (word)load32_le(p + 4) << 32;
#else
    return load32_le(p);
#endif
}

/* ---- Codes to bits */

/* Bits 7 of eight bytes side by side. */
HT_INLINE word top_bits(uint32_t first, uint32_t second) {
    const uint32_t spread = (first & 0x80808080u) >> 4 | (second & 0x80808080u);
    return spread * 0x00204081u >> 24;
}

/* Bit 7 of each byte that is not 0. */
HT_INLINE uint32_t mark_present(uint32_t x) {
    return ((x & 0x7F7F7F7Fu) + 0x7F7F7F7Fu) | x;
}

HT_INLINE void put(word *plane, int32_t at, word bits) {
    plane[(uint32_t)at / WORD_BITS] |= bits << (uint32_t)at % WORD_BITS;
}

HT_INLINE void put_code(bits *b, int32_t at, int32_t code) {
    put(b->negative, at, code < 0);
    put(b->present, at, code != 0);
}

HT_INLINE void put_codes(bits *b, int32_t at, const int8_t *codes, int is_masked) {
    const uint32_t first = load32_le((const uint8_t *)codes);
    const uint32_t second = load32_le((const uint8_t *)codes + 4);
    put(b->negative, at, top_bits(first, second));
    if (is_masked) {
        put(b->present, at, top_bits(mark_present(first), mark_present(second)));
    }
}

/* Codes to bits at..at + n of a window whose bits are 0. */
HT_HOT static void copy_bits(bits *b, int32_t at, const int8_t *codes, int32_t n) {
    for (; n > 0 && at % 8 != 0; n--) {
        put_code(b, at++, *codes++);
    }
    if (b->is_masked) {
        for (; n >= 8; n -= 8, at += 8, codes += 8) {
            put_codes(b, at, codes, 1);
        }
    } else {
        for (; n >= 8; n -= 8, at += 8, codes += 8) {
            put_codes(b, at, codes, 0);
        }
    }
    for (; n > 0; n--) {
        put_code(b, at++, *codes++);
    }
}

HT_INLINE void fill_bits(bits *b, int32_t at, int32_t code, int32_t n) {
    for (const int32_t end = at + n; code != 0 && at < end; at++) {
        put_code(b, at, code);
    }
}

#define TAP bits
#define COPY_TAPS copy_bits
#define FILL_TAPS fill_bits
#include "../ht_gather.h"

/* ---- Counting ones */

/* Masks in registers: an operand of an Arm instruction is shifted on the way, a constant is not. */
typedef struct masks {
    word one, two, four; /* of every 2, 4, 8 bits the lower half */
} masks;

HT_INLINE masks load_masks(void) {
    masks m = {ALL / 3, ALL / 5, ALL / 17};
#if defined(__arm__) && defined(__GNUC__)
    __asm("" : "+r"(m.one), "+r"(m.two), "+r"(m.four));
#endif
    return m;
}

/* sum + the ones of x: of so many words that a sum can be folded. */
#if (defined(__x86_64__) || defined(__aarch64__)) && defined(__GNUC__)
#define BLOCK INT32_MAX

HT_INLINE word add_ones(word sum, word x, masks m) {
    (void)m;
    return sum + (word)__builtin_popcountll(x);
}

HT_INLINE int32_t folded(word sum) {
    return (int32_t)sum;
}
#else
/* The ones of each byte. */
HT_INLINE word ones_of_bytes(word x, masks m) {
    const word pairs = x - (x >> 1 & m.one);
    const word nibbles = (pairs & m.two) + (pairs >> 2 & m.two);
    return (nibbles + (nibbles >> 4)) & m.four;
}

#ifdef HT_PAIRS
#define BLOCK INT32_MAX

HT_INLINE word add_ones(word sum, word x, masks m) {
    return __usada8(ones_of_bytes(x, m), 0, sum); /* adds the bytes too */
}

HT_INLINE int32_t folded(word sum) {
    return (int32_t)sum;
}
#else
#define BLOCK 31 /* of 8 ones to a byte */

HT_INLINE word add_ones(word sum, word x, masks m) {
    return sum + ones_of_bytes(x, m);
}

HT_INLINE int32_t folded(word sum) {
    const word halves = (sum & ALL / 0x101) + (sum >> 8 & ALL / 0x101);
    return (int32_t)(halves * (ALL / 0xFFFF) >> (WORD_BITS - 16));
}
#endif
#endif

/* The bits behind the last whole word of a row of weights, which are n. */
HT_INLINE word load_rest(const uint8_t *p, int32_t n, uint32_t row_bytes) {
    word rest = 0;
    if (row_bytes >= sizeof(word)) { /* with some of those before */
        const int32_t bytes = (n + 7) / 8;
        return load_word(p + bytes - sizeof(word)) >> (WORD_BITS - 8 * bytes);
    }
    for (int32_t i = 0; i < n; i += 8) {
        rest |= (word)p[i / 8] << i;
    }
    return rest;
}

/* What one run multiplies with. */
typedef struct operands {
    ht_packed packed;
    const int32_t *bias;
    const ht_output_stage *stage;
    int32_t product; /* of the second weight of the codebook and the inputs' magnitude */
    int32_t filter;
    int32_t n_out;
} operands;

/* acc += windows . rows that begin here, n taps of each. Bits of weights are 1 for the second of
 * the codebook, those of inputs for what is negative: where they differ, the product is o->product,
 * and elsewhere its negative. */
HT_INLINE void sum_rows(const operands *o, const bits *windows, const uint8_t *row, int32_t n,
                        int32_t pixels, int is_masked, int32_t lanes, int32_t *acc) {
    const masks m = load_masks();
    const int32_t words = n / WORD_BITS;
    const int32_t product = o->product;
    const uint32_t row_bytes = o->packed.row_bytes;
    const int32_t counts[HT_PIXELS] = {windows[0].count, windows[1].count};
    for (int32_t k = 0; k < lanes; k++, row += row_bytes) {
        const uint8_t *in = row;
        int32_t ones0 = 0;
        int32_t ones1 = 0;
        for (int32_t i = 0; i < words;) {
            const int32_t end = words - i <= BLOCK ? words : i + BLOCK;
            word sum0 = 0;
            word sum1 = 0;
            for (; i < end; i++, in += sizeof(word)) {
                const word w = load_word(in);
                const word x = w ^ windows[0].negative[i];
                sum0 = add_ones(sum0, is_masked ? x & windows[0].present[i] : x, m);
                if (pixels == 2) {
                    const word y = w ^ windows[1].negative[i];
                    sum1 = add_ones(sum1, is_masked ? y & windows[1].present[i] : y, m);
                }
            }
            ones0 += folded(sum0);
            ones1 += folded(sum1);
        }
        if (n % WORD_BITS != 0) {
            const word w = load_rest(in, n % WORD_BITS, row_bytes);
            const word x = w ^ windows[0].negative[words];
            ones0 += folded(add_ones(0, is_masked ? x & windows[0].present[words] : x, m));
            if (pixels == 2) {
                const word y = w ^ windows[1].negative[words];
                ones1 += folded(add_ones(0, is_masked ? y & windows[1].present[words] : y, m));
            }
        }
        acc[k] += product * (2 * ones0 - counts[0]);
        if (pixels == 2) {
            acc[HT_LANES + k] += product * (2 * ones1 - counts[1]);
        }
    }
}

/* The same, a loop for each case. */
HT_HOT static void sum_bits(const operands *o, const bits *windows, const uint8_t *row, int32_t n,
                            int32_t pixels, int32_t lanes, int32_t *acc) {
    if (pixels == 1) {
        sum_rows(o, windows, row, n, 1, 1, lanes, acc);
    } else if (windows[0].is_masked) {
        sum_rows(o, windows, row, n, 2, 1, lanes, acc);
    } else {
        sum_rows(o, windows, row, n, 2, 0, lanes, acc);
    }
}

/* ---- Convolution */

/* Taps first..first + n of a window. */
HT_HOT static void gather_bits(const job *j, const place *from, int32_t first, int32_t n,
                               bits *window) {
    const int32_t words = (n + WORD_BITS - 1) / WORD_BITS;
    for (int32_t i = 0; i < words; i++) {
        window->negative[i] = 0;
        window->present[i] = 0;
    }
    gather(j, *from, first, n, window);
    window->count = n;
    if (window->is_masked) {
        const masks m = load_masks();
        window->count = 0;
        for (int32_t i = 0; i < words; i++) {
            window->count += folded(add_ones(0, window->present[i], m));
        }
    }
}

HT_INLINE int is_inside(const job *j, place from) {
    const ht_window *w = j->window;
    return from.y >= 0 && from.y + (w->kernel_h - 1) * w->dilation_h < j->in_dims.h &&
           from.x >= 0 && from.x + (w->kernel_w - 1) * w->dilation_w < j->in_dims.w;
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
    windows[1].count = 0;
    for (int32_t done = 0; done < total; done += HT_PIXELS) {
        const int32_t pixels = total - done < HT_PIXELS ? total - done : HT_PIXELS;
        place places[HT_PIXELS];
        find_places(j, out_dims.w, pixels, &oy, &ox, places);
        const int is_full =
            !has_zeros && pixels == HT_PIXELS &&
            (j->in_zero != 0 || (is_inside(j, places[0]) && is_inside(j, places[1])));
        windows[0].is_masked = !is_full;
        windows[1].is_masked = !is_full;
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

/* gap-huff of a tensor that is mostly values (SPEC section 1.7). */
#include "ht_gap.h"
#include "ht_load.h"

/* How far zeros have been put between the values, which lie behind as many elements as there are
 * zeros left. So reading never falls behind writing, and at the end all is in its place. */
typedef struct spread {
    const uint8_t *next; /* byte that holds the next bit of the gaps */
    const uint8_t *end;
    unsigned offset; /* bits of *next already used, 0..7 */
    size_t zeros;    /* still to be written */
    size_t values;   /* still to be moved */
    int8_t *out;
} spread;

/* Take the gaps of what is left one by one. */
static ht_status finish_spread(const ht_decoder *gaps, const spread *from) {
    ht_bit_reader reader =
        ht_open_stream(from->next, (size_t)(from->end - from->next), from->offset);
    int8_t *out = from->out;
    size_t values = from->values;
    for (size_t zeros = from->zeros; zeros > 0; zeros--) {
        size_t gap = 0;
        if (ht_next_gap(&reader, gaps, &gap) != HT_OK || gap > values) {
            return HT_ERR_CODE_STREAM;
        }
        values -= gap;
        for (; gap > 0; gap--, out++) {
            *out = out[zeros];
        }
        *out++ = 0;
    }
    return ht_close_stream(&reader);
}

#if defined(HT_WIDE_WINDOW)

#define BLOCK 16 /* elements that are copied at a time, whether or not the gap is as long */

HT_INLINE void copy_block(int8_t *to, const int8_t *from) {
    int8_t block[BLOCK];
    memcpy(block, from, BLOCK);
    memcpy(to, block, BLOCK);
}

/* Gaps whose loads surely stay inside the stream: each takes 38 bits at most, a load reaches 8
 * bytes beyond. */
static size_t safe_gaps(const spread *s) {
    const size_t bytes = (size_t)(s->end - s->next);
    const size_t by_bytes = bytes < 16 ? 0 : (bytes - 9) / 5;
    const size_t by_count = s->zeros < BLOCK ? 0 : s->zeros - BLOCK;
    return by_bytes < by_count ? by_bytes : by_count;
}

/* Put `rounds` zeros, and the values before each; returns 0 where fewer values than a block would
 * be left behind them. A gap of more values than there are is for finish_spread to find out. */
HT_MULTIARCH
static int spread_some(const ht_gap_table *t, spread *s, size_t rounds) {
    size_t bit = s->offset;
    int8_t *out = s->out;
    size_t zeros = s->zeros;
    size_t values = s->values;
    for (; rounds > 0; rounds--) {
        const uint64_t window = ht_load64_be(s->next + (bit >> 3)) << (bit & 7);
        const unsigned code = t->codes[HT_INDEX(window)];
        const uint32_t gap = (uint32_t)(window >> (-code & 63)) + t->bias[code >> 8] - 1;
        if (gap + BLOCK > values) {
            break;
        }
        bit += (uint8_t)code;
        copy_block(out, out + zeros);
        for (size_t done = BLOCK; done < gap; done += BLOCK) {
            copy_block(out + done, out + done + zeros);
        }
        values -= gap;
        out += gap;
        *out++ = 0;
        zeros--;
    }
    s->next += bit >> 3;
    s->offset = bit & 7;
    s->out = out;
    s->zeros = zeros;
    s->values = values;
    return rounds == 0;
}

static void spread_most(const ht_decoder *gaps, spread *s) {
    if (s->end - s->next < HT_AHEAD_FROM || !gaps->complete) {
        return;
    }
    ht_gap_table table;
    ht_look_ahead(gaps, &table);
    for (size_t n = safe_gaps(s); n > 0 && spread_some(&table, s, n); n = safe_gaps(s)) {
    }
}

#else

static void spread_most(const ht_decoder *gaps, spread *s) {
    (void)gaps;
    (void)s;
}

#endif

ht_status ht_decode_between_zeros(const ht_gap_tensor *tensor) {
    const uint8_t *in = tensor->in;
    if (tensor->size < 4 || load32_le(in) > tensor->size - 4) {
        return HT_ERR_CODE_STREAM;
    }
    const uint8_t *end = in + 4 + load32_le(in);
    const size_t zeros = tensor->count - tensor->nonzeros;
    int8_t *values = tensor->out + zeros;
    const ht_status status = ht_huffman_decode_dense(
        &tensor->by->values, end, tensor->size - (size_t)(end - in), values, tensor->nonzeros);
    if (status != HT_OK) {
        return status;
    }
    spread s = {in + 4, end, 0, zeros, tensor->nonzeros, tensor->out};
    spread_most(&tensor->by->gaps, &s);
    return finish_spread(&tensor->by->gaps, &s);
}

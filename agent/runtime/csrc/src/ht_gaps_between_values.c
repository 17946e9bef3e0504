/* gap-huff of a tensor that is mostly zeros (SPEC section 1.7). */
#include "ht_gap.h"
#include "ht_load.h"

#define STREAMS 4

/* How far a stream of gaps between values is decoded. */
typedef struct stream {
    const uint8_t *next; /* byte that holds the next bit */
    const uint8_t *end;
    unsigned offset; /* bits of *next already used, 0..7 */
    uint32_t left;   /* values still to decode */
    size_t at;       /* the element behind the last one */
} stream;

/* Finish a stream, value by value. */
HT_MULTIARCH
static ht_status finish_stream(const ht_gap_tensor *tensor, stream *s) {
    const ht_gap_decoders *by = tensor->by;
    int8_t *out = tensor->out;
    const size_t count = tensor->count;
    ht_bit_reader reader = ht_open_stream(s->next, (size_t)(s->end - s->next), s->offset);
    size_t at = s->at;
    for (uint32_t left = s->left; left > 0; left--) {
        size_t gap = 0;
        if (ht_next_gap(&reader, &by->gaps, &gap) != HT_OK || at >= count || gap >= count - at) {
            return HT_ERR_CODE_STREAM;
        }
        const unsigned entry = ht_next_symbol(&reader, &by->values);
        if (entry == 0) {
            return HT_ERR_CODE_STREAM;
        }
        at += gap;
        out[at++] = (int8_t)(uint8_t)(entry >> 8);
    }
    s->at = at;
    return at <= count ? ht_close_stream(&reader) : HT_ERR_CODE_STREAM;
}

#if defined(HT_WIDE_WINDOW)

/* What is looked up: every look-up finds something. */
typedef struct ahead_tables {
    const ht_lut_entry *values;
    ht_gap_table gaps;
} ahead_tables;

/* Values that a stream surely has, and whose loads stay inside: each takes 50 bits at most, a load
 * reaches 8 bytes beyond, or 16. */
static uint32_t safe_values(const stream *s) {
    const size_t bytes = (size_t)(s->end - s->next);
    const size_t by_bytes = bytes < 24 ? 0 : (bytes - 17) / 7;
    return by_bytes < s->left ? (uint32_t)by_bytes : s->left;
}

/* An element behind the end is written to the last one: that it was is seen when all are done. */
HT_INLINE void put(int8_t *out, size_t last, size_t at, unsigned value) {
    out[at <= last ? at : last] = (int8_t)(uint8_t)(value >> 8);
}

/* The chain from value to value waits for two loads: reloads are those of ht_huffman_dense.c. */
HT_MULTIARCH
static void decode_one(const ahead_tables *t, stream *s, int8_t *out, size_t count) {
    for (uint32_t rounds = safe_values(s); rounds > 0; rounds = safe_values(s)) {
        const uint8_t *next = s->next + 8;
        uint64_t window = ht_load64_be(s->next) << s->offset;
        unsigned held = 64 - s->offset;
        size_t at = s->at;
        for (uint32_t round = 0; round < rounds; round++) {
            const unsigned code = t->gaps.codes[HT_INDEX(window)];
            const uint64_t ahead = window << (code & 63);
            const unsigned value = t->values[HT_INDEX(ahead)];
            const uint32_t step = (uint32_t)(window >> (-code & 63)) + t->gaps.bias[code >> 8];
            at += step;
            put(out, count - 1, at - 1, value);
            window = ahead << (value & 63);
            held = held - code - value; /* the symbols change bits above the 6 that count */
            window |= ht_load64_be(next) >> (held & 63);
            next += (63 - (held & 63)) >> 3;
            held = (held & 63) | 56;
        }
        s->next = next - (held + 7) / 8;
        s->offset = (8 - held % 8) % 8;
        s->left -= rounds;
        s->at = at;
    }
}

/* A window is loaded anew for every value, so that a stream is two registers: the bit `pos` it is
 * at, and `at`. The four chains are independent, so the processor overlaps them. */
#define TAKE(n)                                                                                    \
    do {                                                                                           \
        const uint64_t window = ht_load64_be(in + (pos##n >> 3)) << (pos##n & 7);                  \
        const unsigned code = t->gaps.codes[HT_INDEX(window)];                                     \
        const unsigned value = t->values[HT_INDEX(window << (code & 63))];                         \
        at##n += (uint32_t)(window >> (-code & 63)) + t->gaps.bias[code >> 8];                     \
        put(out, last, at##n - 1, value);                                                          \
        pos##n += (uint8_t)code;                                                                   \
        pos##n += (uint8_t)value;                                                                  \
    } while (0)
#define OPEN(n)                                                                                    \
    size_t pos##n = (size_t)(streams[n].next - in) * 8 + streams[n].offset;                        \
    size_t at##n = streams[n].at
#define CLOSE(n)                                                                                   \
    streams[n].next = in + (pos##n >> 3);                                                          \
    streams[n].offset = pos##n & 7;                                                                \
    streams[n].left -= rounds;                                                                     \
    streams[n].at = at##n

HT_MULTIARCH
static void decode_rounds(const ahead_tables *t, stream *streams, uint32_t rounds, int8_t *out,
                          size_t last) {
    const uint8_t *in = streams[0].next;
    OPEN(0);
    OPEN(1);
    OPEN(2);
    OPEN(3);
    for (uint32_t round = 0; round < rounds; round++) {
        TAKE(0);
        TAKE(1);
        TAKE(2);
        TAKE(3);
    }
    CLOSE(0);
    CLOSE(1);
    CLOSE(2);
    CLOSE(3);
}

static uint32_t safe_rounds(const stream *streams) {
    uint32_t rounds = UINT32_MAX;
    for (int s = 0; s < STREAMS; s++) {
        const uint32_t own = safe_values(&streams[s]);
        rounds = own < rounds ? own : rounds;
    }
    return rounds;
}

/* Decode nearly all of each stream. */
static void decode_ahead(const ht_gap_tensor *tensor, stream *streams, unsigned used) {
    const ht_gap_decoders *by = tensor->by;
    if (!by->values.complete || !by->gaps.complete) {
        return;
    }
    ahead_tables tables;
    tables.values = by->values.lut;
    ht_look_ahead(&by->gaps, &tables.gaps);
    if (used == 1) {
        decode_one(&tables, streams, tensor->out, tensor->count);
        return;
    }
    for (uint32_t n = safe_rounds(streams); n > 0; n = safe_rounds(streams)) {
        decode_rounds(&tables, streams, n, tensor->out, tensor->count - 1);
    }
}

#endif

/* Open one stream, or four; returns how many, or 0 when they do not lie in its bytes.
 *
 * starts  the element at which each stream begins, and `count` at the end */
static unsigned open_streams(const ht_gap_tensor *tensor, stream *streams, size_t *starts) {
    const uint8_t *in = tensor->in;
    const size_t size = tensor->size;
    const uint32_t nonzeros = tensor->nonzeros;
    const unsigned used = nonzeros < HT_FOUR_STREAMS_FROM ? 1 : STREAMS;
    const size_t head = used == 1 ? 0 : 8 * (STREAMS - 1);
    if (size < head) {
        return 0;
    }
    const uint32_t share = (nonzeros + used - 1) / used;
    const uint8_t *next = in + head;
    size_t bytes_left = size - head;
    for (unsigned s = 0; s < used; s++) {
        const int is_last = s == used - 1;
        const size_t bytes = is_last ? bytes_left : load32_le(in + 4 * s);
        starts[s] = s == 0 ? 0 : load32_le(in + 4 * (STREAMS - 2 + s));
        if (bytes > bytes_left || starts[s] > tensor->count) {
            return 0;
        }
        const stream one = {next, next + bytes, 0, is_last ? nonzeros - share * s : share,
                            starts[s]};
        streams[s] = one;
        next += bytes;
        bytes_left -= bytes;
    }
    return used;
}

ht_status ht_decode_between_values(const ht_gap_tensor *tensor) {
    stream streams[STREAMS];
    size_t starts[STREAMS];
    const unsigned used = open_streams(tensor, streams, starts);
    if (used == 0) {
        return HT_ERR_CODE_STREAM;
    }
    memset(tensor->out, 0, tensor->count);
#if defined(HT_WIDE_WINDOW)
    if (tensor->size >= HT_AHEAD_FROM && tensor->count > 0) {
        decode_ahead(tensor, streams, used);
    }
#endif
    for (unsigned s = 0; s < used; s++) {
        const ht_status status = finish_stream(tensor, &streams[s]);
        if (status != HT_OK) {
            return status;
        }
        if (s + 1 < used && streams[s].at != starts[s + 1]) {
            return HT_ERR_CODE_STREAM; /* it wrote where the next one writes, or left a hole */
        }
    }
    return HT_OK;
}

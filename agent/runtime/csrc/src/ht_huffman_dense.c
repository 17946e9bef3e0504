/* dense-huff: a code for every element (SPEC section 1.7). */
#include "ht_bit_reader.h"
#include "ht_load.h"

#define STREAMS 4

typedef struct stream {
    const uint8_t *next; /* byte that holds the next bit */
    const uint8_t *end;
    int8_t *out;
    size_t count;    /* elements still to decode */
    unsigned offset; /* bits of *next already used, 0..7 */
} stream;

static ht_status decode_rest(ht_bit_reader *reader, const ht_decoder *decoder, int8_t *out,
                             size_t count) {
    for (size_t i = 0; i < count; i++) {
        const unsigned entry = ht_next_symbol(reader, decoder);
        if (entry == 0) {
            return HT_ERR_CODE_STREAM;
        }
        out[i] = (int8_t)(uint8_t)(entry >> 8);
    }
    return ht_close_stream(reader);
}

/* Finish a stream symbol by symbol. */
static ht_status finish_stream(const stream *from, const ht_decoder *decoder) {
    if (from->offset != 0 && from->next == from->end) {
        return HT_ERR_CODE_STREAM;
    }
    ht_bit_reader reader =
        ht_open_stream(from->next, (size_t)(from->end - from->next), from->offset);
    return decode_rest(&reader, decoder, from->out, from->count);
}

#if HT_LUT_BITS < HT_MAX_CODE_LENGTH

HT_INLINE uint32_t load32_be(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

/* window << (bits & 0xFF), the lowest byte at most 24. Thumb-2 reads no more of it, which GCC does
 * not use. */
HT_INLINE uint32_t shift_out(uint32_t window, uint32_t bits) {
#if defined(__thumb2__) && defined(__GNUC__)
    __asm("lsl %0, %0, %1" : "+r"(window) : "r"(bits));
    return window;
#else
    return window << (bits & 31u);
#endif
}

/* Write the symbols of an entry, the second, or both, perhaps for nothing. */
HT_INLINE void store_symbols(uint32_t entry, int8_t *out) {
    const uint16_t symbols = (uint16_t)entry;
    memcpy(out, &symbols, sizeof symbols);
}

/* Rounds that a stream can take without a look at its ends: each moves it on by three bytes and six
 * symbols at most, and a load reaches four bytes beyond. */
static size_t safe_rounds(const uint8_t *next, const uint8_t *end, size_t count) {
    const size_t left = (size_t)(end - next);
    const size_t by_bytes = left < 8 ? 0 : (left - 5) / 3;
    const size_t by_count = count / 6;
    return by_bytes < by_count ? by_bytes : by_count;
}

/* Take the codes of an entry, whose upper half is `bits`; nothing happens when that is 0. */
#define TAKE(entry, bits)                                                                          \
    do {                                                                                           \
        window = shift_out(window, bits);                                                          \
        used += (bits);                                                                            \
        store_symbols(entry, out);                                                                 \
        out += (entry) >> 30;                                                                      \
    } while (0)

/* Take the long code that an entry points to, or search it. */
#define TAKE_LONG(entry)                                                                           \
    do {                                                                                           \
        const uint32_t right = (entry) >> 8;                                                       \
        unsigned length = 32u + HT_LUT_BITS - right;                                               \
        if (right != 0) {                                                                          \
            const uint32_t rest = window << HT_LUT_BITS >> right;                                  \
            *out++ = (int8_t)symbols[rest + ((entry) & 0xFFu)];                                    \
        } else {                                                                                   \
            const unsigned found = ht_long_code(decoder, window >> (32 - HT_MAX_CODE_LENGTH));     \
            if (found == 0) {                                                                      \
                goto stop;                                                                         \
            }                                                                                      \
            *out++ = (int8_t)(uint8_t)(found >> 8);                                                \
            length = found & 15u;                                                                  \
        }                                                                                          \
        window = shift_out(window, length);                                                        \
        used += length;                                                                            \
    } while (0)

#define LOOK_UP lut[window >> (32 - HT_LUT_BITS)]

/* Decode in rounds of what 25 bits surely hold: three look-ups of 8 bits and 2 symbols at most, or
 * two codes of any length. Stops before what it cannot decode, or near the end. */
HT_MULTIARCH
static void decode_alone(const ht_decoder *decoder, stream *s) {
    const ht_lut_entry *lut = decoder->lut;
    const uint8_t *symbols = decoder->long_symbols;
    const uint8_t *next = s->next;
    int8_t *out = s->out;
    const int8_t *end = out + s->count;
    unsigned used = s->offset; /* bits of *next; what stands above the lowest byte is noise */
    size_t rounds = safe_rounds(next, s->end, s->count);
    while (rounds > 0) {
        uint32_t window = load32_be(next) << used;
        uint32_t entry = LOOK_UP;
        uint32_t bits = entry >> 16;
        if (bits != 0) {
            TAKE(entry, bits);
            entry = LOOK_UP;
            bits = entry >> 16;
            if (bits != 0) {
                TAKE(entry, bits);
                entry = LOOK_UP;
                bits = entry >> 16;
                TAKE(entry, bits);
            } else {
                TAKE_LONG(entry);
            }
        } else {
            TAKE_LONG(entry);
            entry = LOOK_UP;
            bits = entry >> 16;
            if (bits != 0) {
                TAKE(entry, bits);
            } else {
                TAKE_LONG(entry);
            }
        }
        used &= 0xFFu;
        next += used >> 3;
        used &= 7u;
        if (--rounds == 0) {
            rounds = safe_rounds(next, s->end, (size_t)(end - out));
        }
        continue;
    stop: /* what was taken in this round counts */
        used &= 0xFFu;
        next += used >> 3;
        used &= 7u;
        break;
    }
    s->next = next;
    s->offset = used;
    s->count = (size_t)(end - out);
    s->out = out;
}

#else

static void decode_alone(const ht_decoder *decoder, stream *s) {
    (void)decoder;
    (void)s; /* short streams are not worth it */
}

#endif

#if defined(HT_WIDE_WINDOW)

#define BURST 6 /* elements between two loads, which hold them nearly always */

/* Bursts that all streams can take without a look at their ends: each moves a stream on by 9 bytes
 * at most, and loads reach 8 bytes beyond. */
static size_t safe_bursts(const stream *streams) {
    size_t bursts = SIZE_MAX;
    for (int s = 0; s < STREAMS; s++) {
        const size_t left = (size_t)(streams[s].end - streams[s].next);
        const size_t by_bytes = left < 32 ? 0 : (left - 16) / 9;
        const size_t by_count = streams[s].count / BURST;
        bursts = by_bytes < bursts ? by_bytes : bursts;
        bursts = by_count < bursts ? by_count : bursts;
    }
    return bursts;
}

/* The four chains of load and shift are independent, so the processor overlaps them. A 1 stands
 * behind the bits of a window: how far it has moved is how many bits are used, and where it is gone
 * the window did not hold the burst. */
#define OPEN(s) size_t bit##s = (size_t)(streams[s].next - in) * 8 + streams[s].offset
#define LOAD(s) uint64_t window##s = (ht_load64_be(in + (bit##s >> 3)) | 1) << (bit##s & 7)
#define DECODE_ONE(s, i)                                                                           \
    do {                                                                                           \
        const unsigned entry = lut[window##s >> (64 - HT_LUT_BITS)];                               \
        window##s <<= entry & 63;                                                                  \
        out[s * share + i] = (int8_t)(uint8_t)(entry >> 8);                                        \
    } while (0)
#define DECODE_FOUR(i)                                                                             \
    DECODE_ONE(0, i);                                                                              \
    DECODE_ONE(1, i);                                                                              \
    DECODE_ONE(2, i);                                                                              \
    DECODE_ONE(3, i)
#define MOVE(s) bit##s = (bit##s & ~(size_t)7) + (size_t)__builtin_ctzll(window##s)
#define CLOSE(s)                                                                                   \
    streams[s].next = in + (bit##s >> 3);                                                          \
    streams[s].offset = bit##s & 7;                                                                \
    streams[s].out += done * BURST;                                                                \
    streams[s].count -= done * BURST

/* Returns how many bursts were decoded: the next one is too long for a window. */
HT_MULTIARCH
static size_t decode_bursts(const ht_decoder *decoder, stream *streams, size_t bursts) {
    const uint16_t *lut = decoder->lut;
    const uint8_t *in = streams[0].next;
    int8_t *out = streams[0].out;
    const size_t share = (size_t)(streams[1].out - out);
    OPEN(0);
    OPEN(1);
    OPEN(2);
    OPEN(3);
    size_t done = 0;
    for (; done < bursts; done++) {
        LOAD(0);
        LOAD(1);
        LOAD(2);
        LOAD(3);
        DECODE_FOUR(0);
        DECODE_FOUR(1);
        DECODE_FOUR(2);
        DECODE_FOUR(3);
        DECODE_FOUR(4);
        DECODE_FOUR(5);
        if (window0 == 0 || window1 == 0 || window2 == 0 || window3 == 0) {
            break;
        }
        MOVE(0);
        MOVE(1);
        MOVE(2);
        MOVE(3);
        out += BURST;
    }
    CLOSE(0);
    CLOSE(1);
    CLOSE(2);
    CLOSE(3);
    return done;
}

/* Decode so many elements with a load for each. */
static void decode_some(const ht_decoder *decoder, stream *s, size_t count) {
    size_t bit = s->offset;
    for (size_t i = 0; i < count; i++) {
        const uint64_t window = ht_load64_be(s->next + (bit >> 3)) << (bit & 7);
        const unsigned entry = decoder->lut[window >> (64 - HT_LUT_BITS)];
        bit += entry & 63;
        *s->out++ = (int8_t)(uint8_t)(entry >> 8);
    }
    s->next += bit >> 3;
    s->offset = bit & 7;
    s->count -= count;
}

static void decode_together(const ht_decoder *decoder, stream *streams) {
    if (!decoder->complete) {
        return;
    }
    for (size_t bursts = safe_bursts(streams); bursts > 0; bursts = safe_bursts(streams)) {
        if (decode_bursts(decoder, streams, bursts) < bursts) {
            for (int s = 0; s < STREAMS; s++) {
                decode_some(decoder, &streams[s], BURST);
            }
        }
    }
}

#else

static void decode_together(const ht_decoder *decoder, stream *streams) {
    for (int s = 0; s < STREAMS; s++) {
        decode_alone(decoder, &streams[s]); /* as fast where there is one load a cycle */
    }
}

#endif

static ht_status split_streams(const uint8_t *in, size_t size, int8_t *out, size_t count,
                               stream *streams) {
    const size_t quarter = (count + STREAMS - 1) / STREAMS;
    if (size < 4 * (STREAMS - 1)) {
        return HT_ERR_CODE_STREAM;
    }
    const uint8_t *next = in + 4 * (STREAMS - 1);
    size_t left = size - 4 * (STREAMS - 1);
    for (int s = 0; s < STREAMS; s++) {
        const int is_last = s == STREAMS - 1;
        const size_t bytes = is_last ? left : load32_le(in + 4 * s);
        if (bytes > left) {
            return HT_ERR_CODE_STREAM;
        }
        streams[s].next = next;
        streams[s].end = next + bytes;
        streams[s].out = out + quarter * (size_t)s;
        streams[s].count = is_last ? count - quarter * (STREAMS - 1) : quarter;
        streams[s].offset = 0;
        next += bytes;
        left -= bytes;
    }
    return HT_OK;
}

ht_status ht_huffman_decode_dense(const ht_decoder *values, const uint8_t *in, size_t size,
                                  int8_t *out, size_t count) {
    if (values == NULL || in == NULL || out == NULL) {
        return HT_ERR_ARGUMENT;
    }
    const int is_full = values->lut_bits == HT_LUT_BITS; /* gap-huff has half as many entries */
    if (count < HT_FOUR_STREAMS_FROM) {
        stream one = {in, in + size, out, count, 0};
        if (is_full) {
            decode_alone(values, &one);
        }
        return finish_stream(&one, values);
    }
    stream streams[STREAMS];
    ht_status status = split_streams(in, size, out, count, streams);
    if (status != HT_OK) {
        return status;
    }
    if (is_full) {
        decode_together(values, streams);
    }
    for (int s = 0; s < STREAMS && status == HT_OK; s++) {
        status = finish_stream(&streams[s], values);
    }
    return status;
}

#include "hardtack/ht_huffman.h"

#include "ht_load.h"
#include "ht_lut.h"
#include "ht_vector.h"

/* ---- Codes */

/* Find a code that the look-up table does not hold.
 *
 * window  the next 12 bits of the stream
 * Returns symbol << 8 | length, or 0 when no code begins so. */
static unsigned long_code(const ht_decoder *decoder, unsigned window) {
    const uint8_t *symbols = decoder->long_symbols;
    for (unsigned length = decoder->lut_bits + 1u; length <= HT_MAX_CODE_LENGTH; length++) {
        const unsigned code = window >> (HT_MAX_CODE_LENGTH - length);
        const unsigned rank = code - decoder->first_code[length];
        if (code >= decoder->first_code[length] && rank < decoder->count[length]) {
            return (unsigned)symbols[rank] << 8 | length;
        }
        symbols += decoder->count[length];
    }
    return 0;
}

/* ---- One stream */

typedef struct bit_reader {
    const uint8_t *next; /* first byte not yet in the window */
    const uint8_t *end;
    uint32_t window; /* the next bits, from the most significant down; zero after the last */
    int available;   /* bits of the window that the stream really holds */
} bit_reader;

static void refill(bit_reader *reader) {
    while (reader->available <= 24 && reader->next < reader->end) {
        reader->window |= (uint32_t)*reader->next++ << (24 - reader->available);
        reader->available += 8;
    }
}

static bit_reader open_stream(const uint8_t *bytes, size_t size) {
    bit_reader reader = {bytes, bytes + size, 0, 0};
    refill(&reader);
    return reader;
}

static void skip(bit_reader *reader, unsigned bits) {
    reader->window <<= bits;
    reader->available -= (int)bits;
    refill(reader);
}

/* The code that a window begins with, as symbol << 8 | length, or 0 for none. */
static unsigned code_at(const ht_decoder *decoder, uint32_t window) {
    const unsigned bits = decoder->lut_bits;
    const ht_lut_entry entry = decoder->lut[window >> (32 - bits)];
    if (!IS_LONG(entry)) {
        return FIRST_OF(entry);
    }
#if HT_LUT_BITS < HT_MAX_CODE_LENGTH
    const unsigned right = entry >> 8;
    if (right != 0) {
        const uint32_t rest = window << bits >> right;
        return (unsigned)decoder->long_symbols[rest + (entry & 0xFFu)] << 8 | (32 + bits - right);
    }
#endif
    return long_code(decoder, window >> (32 - HT_MAX_CODE_LENGTH));
}

/* Returns symbol << 8 | length, or 0 at the end of the stream and for a code that is none. */
static unsigned next_symbol(bit_reader *reader, const ht_decoder *decoder) {
    const unsigned code = code_at(decoder, reader->window);
    const unsigned length = code & 0xFF;
    if (length == 0 || (int)length > reader->available) {
        return 0;
    }
    skip(reader, length);
    return code;
}

/* All bytes read, and only the zero bits that complete the last one are left. */
static ht_status close_stream(const bit_reader *reader) {
    const int finished = reader->next == reader->end && reader->available < 8;
    return finished && reader->window == 0 ? HT_OK : HT_ERR_CODE_STREAM;
}

static ht_status decode_rest(bit_reader *reader, const ht_decoder *decoder, int8_t *out,
                             size_t count) {
    for (size_t i = 0; i < count; i++) {
        const unsigned entry = next_symbol(reader, decoder);
        if (entry == 0) {
            return HT_ERR_CODE_STREAM;
        }
        out[i] = (int8_t)(uint8_t)(entry >> 8);
    }
    return close_stream(reader);
}

/* ---- Dense streams */

#define STREAMS 4

typedef struct stream {
    const uint8_t *next; /* byte that holds the next bit */
    const uint8_t *end;
    int8_t *out;
    size_t count;    /* elements still to decode */
    unsigned offset; /* bits of *next already used, 0..7 */
} stream;

/* Finish a stream symbol by symbol. */
static ht_status finish_stream(const stream *from, const ht_decoder *decoder) {
    if (from->offset != 0 && from->next == from->end) {
        return HT_ERR_CODE_STREAM;
    }
    bit_reader reader = open_stream(from->next, (size_t)(from->end - from->next));
    skip(&reader, from->offset);
    return decode_rest(&reader, decoder, from->out, from->count);
}

#if HT_LUT_BITS < HT_MAX_CODE_LENGTH

HT_INLINE uint32_t load32_be(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

/* window << (bits & 0xFF), the lowest byte at most 24. */
HT_INLINE uint32_t shift_out(uint32_t window, uint32_t bits) {
#if defined(__thumb2__) && defined(__GNUC__) /* it reads the lowest byte, which GCC does not use   \
                                              */
    __asm("lsl %0, %0, %1" : "+r"(window) : "r"(bits));
    return window;
#else
    return window << (bits & 31u);
#endif
}

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error hardtack needs a little-endian processor
#endif

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
            const unsigned found = long_code(decoder, window >> (32 - HT_MAX_CODE_LENGTH));        \
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

#if HT_LUT_BITS == HT_MAX_CODE_LENGTH && defined(__GNUC__)

#define BURST 4 /* symbols between two refills: 4 * 12 bits of the 56 that a reload guarantees */

HT_INLINE uint64_t load64_be(const uint8_t *p) {
    return (uint64_t)p[0] << 56 | (uint64_t)p[1] << 48 | (uint64_t)p[2] << 40 |
           (uint64_t)p[3] << 32 | (uint64_t)p[4] << 24 | (uint64_t)p[5] << 16 |
           (uint64_t)p[6] << 8 | (uint64_t)p[7];
}

/* Bursts that all streams can take without a look at their ends: each moves a stream on by 6 bytes
 * at most, and loads reach 16 bytes beyond. */
static size_t safe_bursts(const stream *streams) {
    size_t bursts = SIZE_MAX;
    for (int s = 0; s < STREAMS; s++) {
        const size_t left = (size_t)(streams[s].end - streams[s].next);
        const size_t by_bytes = left < 24 ? 0 : (left - 18) / 6;
        const size_t by_count = streams[s].count / BURST;
        bursts = by_bytes < bursts ? by_bytes : bursts;
        bursts = by_count < bursts ? by_count : bursts;
    }
    return bursts;
}

/* The four chains of load and shift are independent, so the processor overlaps them. `held` counts
 * the bits of a window; symbols, subtracted along with their lengths, change only bits above 63.
 * A reload ORs in the next 8 bytes; those it has already, it meets as they were. Its address is
 * known since the reload before, so that the chain from code to code does not wait for memory. */
#define DECODE_ONE(s, i)                                                                           \
    do {                                                                                           \
        const unsigned entry = lut[window##s >> (64 - HT_LUT_BITS)];                               \
        window##s <<= entry & 63;                                                                  \
        held##s -= entry;                                                                          \
        out##s[i] = (int8_t)(uint8_t)(entry >> 8);                                                 \
    } while (0)
#define DECODE_FOUR(i)                                                                             \
    DECODE_ONE(0, i);                                                                              \
    DECODE_ONE(1, i);                                                                              \
    DECODE_ONE(2, i);                                                                              \
    DECODE_ONE(3, i)
#define OPEN(s)                                                                                    \
    const uint8_t *next##s = streams[s].next + 8;                                                  \
    int8_t *out##s = streams[s].out;                                                               \
    uint64_t window##s = load64_be(streams[s].next) << streams[s].offset;                          \
    unsigned held##s = 64 - streams[s].offset
#define RELOAD(s)                                                                                  \
    do {                                                                                           \
        held##s &= 63;                                                                             \
        window##s |= load64_be(next##s) >> held##s;                                                \
        next##s += (63 - held##s) >> 3;                                                            \
        held##s |= 56;                                                                             \
        out##s += BURST;                                                                           \
    } while (0)
#define CLOSE(s)                                                                                   \
    streams[s].next = next##s - (held##s + 7) / 8;                                                 \
    streams[s].offset = (8 - held##s % 8) % 8;                                                     \
    streams[s].out = out##s;                                                                       \
    streams[s].count -= bursts * BURST

HT_MULTIARCH
static void decode_bursts(const ht_decoder *decoder, stream *streams, size_t bursts) {
    const uint16_t *lut = decoder->lut;
    OPEN(0);
    OPEN(1);
    OPEN(2);
    OPEN(3);
    for (size_t burst = 0; burst < bursts; burst++) {
        DECODE_FOUR(0);
        DECODE_FOUR(1);
        DECODE_FOUR(2);
        DECODE_FOUR(3);
        RELOAD(0);
        RELOAD(1);
        RELOAD(2);
        RELOAD(3);
    }
    CLOSE(0);
    CLOSE(1);
    CLOSE(2);
    CLOSE(3);
}

static void decode_together(const ht_decoder *decoder, stream *streams) {
    size_t bursts = decoder->complete ? safe_bursts(streams) : 0;
    while (bursts > 0) {
        decode_bursts(decoder, streams, bursts);
        bursts = safe_bursts(streams);
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
    if (count < HT_FOUR_STREAMS_FROM) {
        stream one = {in, in + size, out, count, 0};
        decode_alone(values, &one);
        return finish_stream(&one, values);
    }
    stream streams[STREAMS];
    ht_status status = split_streams(in, size, out, count, streams);
    if (status != HT_OK) {
        return status;
    }
    decode_together(values, streams);
    for (int s = 0; s < STREAMS && status == HT_OK; s++) {
        status = finish_stream(&streams[s], values);
    }
    return status;
}

/* ---- Gaps */

#define MAX_GAP_SYMBOL 55 /* gaps below 2^28, as tensors are */

/* Read one gap: the number of zeros before the next value. */
static ht_status next_gap(bit_reader *reader, const ht_decoder *gaps, size_t *gap) {
    const unsigned entry = next_symbol(reader, gaps);
    const unsigned symbol = entry >> 8;
    if (entry == 0 || symbol > MAX_GAP_SYMBOL) {
        return HT_ERR_CODE_STREAM;
    }
    if (symbol < 4) {
        *gap = symbol;
        return HT_OK;
    }
    const unsigned extra = symbol / 2 - 1;
    size_t value = 2 + symbol % 2;
    for (unsigned left = extra; left > 0;) {
        const unsigned bits = left < 16 ? left : 16;
        if ((int)bits > reader->available) {
            return HT_ERR_CODE_STREAM;
        }
        value = value << bits | reader->window >> (32 - bits);
        skip(reader, bits);
        left -= bits;
    }
    *gap = value;
    return HT_OK;
}

ht_status ht_huffman_decode_gap(const ht_decoder *values, const ht_decoder *gaps, const uint8_t *in,
                                size_t size, int8_t *out, size_t count) {
    if (values == NULL || gaps == NULL || in == NULL || out == NULL) {
        return HT_ERR_ARGUMENT;
    }
    if (size < 4) {
        return HT_ERR_CODE_STREAM;
    }
    const uint32_t nonzeros = load32_le(in);
    bit_reader reader = open_stream(in + 4, size - 4);
    memset(out, 0, count);
    size_t at = 0;
    for (uint32_t i = 0; i < nonzeros; i++) {
        size_t gap = 0;
        if (next_gap(&reader, gaps, &gap) != HT_OK || gap >= count - at) {
            return HT_ERR_CODE_STREAM;
        }
        const unsigned entry = next_symbol(&reader, values);
        const int8_t value = (int8_t)(uint8_t)(entry >> 8);
        if (entry == 0 || value == 0) {
            return HT_ERR_CODE_STREAM;
        }
        at += gap;
        out[at++] = value;
    }
    return close_stream(&reader);
}

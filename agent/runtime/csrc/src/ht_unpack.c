#include "hardtack/ht_unpack.h"

#include "hardtack/ht_ctx.h"
#include "hardtack/ht_huffman.h"
#include "ht_load.h"

#if defined(__GNUC__)
#define HT_NOINLINE __attribute__((noinline))
#else
#define HT_NOINLINE
#endif

/* Rows and columns that hold anything; the others are zero and not stored. */
typedef struct ht_mask {
    const uint8_t *row_bits, *column_bits;
    uint32_t rows, inner, columns; /* the tensor as [rows][inner][columns] */
    uint32_t live;                 /* elements that are stored */
} ht_mask;

static int bit(const uint8_t *bits, uint32_t index) {
    return bits[index / 8] >> (index % 8) & 1;
}

/* Count the set bits; the bits behind the last one must be clear. */
static ht_status count_bits(const uint8_t *bits, uint32_t count, uint32_t *set) {
    *set = 0;
    for (uint32_t i = 0; i < count; i++) {
        *set += (uint32_t)bit(bits, i);
    }
    const int clear = count % 8 == 0 || bits[count / 8] >> (count % 8) == 0;
    return clear && *set > 0 ? HT_OK : HT_ERR_CODE_STREAM;
}

static ht_status read_mask(const ht_tensor *tensor, ht_span *stored, ht_mask *mask) {
    mask->rows = (uint32_t)ht_tensor_rows(tensor);
    mask->columns = (uint32_t)tensor->dims[3];
    mask->inner = (uint32_t)tensor->elements / mask->rows / mask->columns;
    const uint32_t row_bytes = (mask->rows + 7) / 8;
    const uint32_t column_bytes = (mask->columns + 7) / 8;
    if (stored->size < row_bytes + column_bytes) {
        return HT_ERR_CODE_STREAM;
    }
    mask->row_bits = stored->bytes;
    mask->column_bits = stored->bytes + row_bytes;
    stored->bytes += row_bytes + column_bytes;
    stored->size -= row_bytes + column_bytes;
    uint32_t live_rows = 0;
    uint32_t live_columns = 0;
    ht_status status = count_bits(mask->row_bits, mask->rows, &live_rows);
    if (status == HT_OK) {
        status = count_bits(mask->column_bits, mask->columns, &live_columns);
    }
    mask->live = live_rows * mask->inner * live_columns;
    return status;
}

/* Spread the live elements, which lie at the end of `out`, over all of it. Reading never falls
 * behind writing: at least as many places are left to write as live elements to read. */
static void expand(const ht_mask *mask, int8_t *out, uint32_t elements) {
    const int8_t *next = out + (elements - mask->live);
    for (uint32_t r = 0; r < mask->rows; r++) {
        const int row_lives = bit(mask->row_bits, r);
        for (uint32_t k = 0; k < mask->inner; k++) {
            for (uint32_t c = 0; c < mask->columns; c++) {
                *out++ = row_lives && bit(mask->column_bits, c) ? *next++ : 0;
            }
        }
    }
}

/* Out of line, like the next one, so that their memory is not on the stack together. */
HT_NOINLINE static ht_status unpack_gap(const ht_bundle *bundle, const ht_tensor *tensor,
                                        ht_span stored, int8_t *out) {
    ht_gap_decoders decoders;
    ht_span values;
    ht_span gaps;
    ht_status status = ht_bundle_code_table(bundle, tensor->table, &values);
    if (status == HT_OK) {
        status = ht_bundle_code_table(bundle, tensor->gap_table, &gaps);
    }
    if (status == HT_OK) {
        status = ht_huffman_build_gap(values.bytes, values.size, gaps.bytes, gaps.size, &decoders);
    }
    return status != HT_OK ? status
                           : ht_huffman_decode_gap(&decoders, stored.bytes, stored.size, out,
                                                   (size_t)tensor->elements);
}

/* dense-huff, or the live elements of masked-huff. */
HT_NOINLINE static ht_status unpack_dense(const ht_bundle *bundle, const ht_tensor *tensor,
                                          ht_span stored, int8_t *out, uint32_t elements) {
    ht_full_decoder values;
    ht_span table;
    ht_status status = ht_bundle_code_table(bundle, tensor->table, &table);
    if (status == HT_OK) {
        status = ht_huffman_build(table.bytes, table.size, &values);
    }
    return status != HT_OK
               ? status
               : ht_huffman_decode_dense(&values.decoder, stored.bytes, stored.size, out, elements);
}

static ht_status unpack_huffman(const ht_bundle *bundle, const ht_tensor *tensor, ht_span stored,
                                int8_t *out) {
    const uint32_t elements = (uint32_t)tensor->elements;
    if (tensor->coding == HT_GAP_HUFF) {
        return unpack_gap(bundle, tensor, stored, out);
    }
    if (tensor->coding == HT_DENSE_HUFF) {
        return unpack_dense(bundle, tensor, stored, out, elements);
    }
    ht_mask mask;
    ht_status status = read_mask(tensor, &stored, &mask);
    if (status == HT_OK) {
        status = unpack_dense(bundle, tensor, stored, out + (elements - mask.live), mask.live);
    }
    if (status == HT_OK) {
        expand(&mask, out, elements);
    }
    return status;
}

/* int32 elements stored in `width` bytes, their sign to be extended. */
static void widen(const uint8_t *in, uint32_t width, uint32_t elements, uint8_t *out) {
    for (uint32_t i = 0; i < elements; i++, in += width, out += 4) {
        const uint8_t sign = (uint8_t)(width > 0 && (in[width - 1] & 0x80) != 0 ? 0xFF : 0x00);
        for (uint32_t byte = 0; byte < 4; byte++) {
            out[byte] = byte < width ? in[byte] : sign;
        }
    }
}

static ht_status unpack_narrow(const ht_tensor *tensor, ht_span stored, uint8_t *out) {
    const uint32_t elements = (uint32_t)tensor->elements;
    const uint32_t width = stored.size / elements;
    if (width < 1 || width > 3 || stored.size != width * elements) {
        return HT_ERR_CODE_STREAM;
    }
    widen(stored.bytes, width, elements, out);
    return HT_OK;
}

/* The highest bits below the sign, which is 0, in as many bytes as hold them. */
static ht_status unpack_mantissa(const ht_tensor *tensor, ht_span stored, uint8_t *out) {
    const uint32_t elements = (uint32_t)tensor->elements;
    const uint32_t width = stored.size / elements;
    if (width < 1 || width > 3 || stored.size != width * elements) {
        return HT_ERR_CODE_STREAM;
    }
    const uint8_t *in = stored.bytes;
    for (uint32_t i = 0; i < elements; i++, out += 4) {
        uint32_t bits = 0;
        for (uint32_t byte = 0; byte < width; byte++) {
            bits |= (uint32_t)*in++ << (8 * byte);
        }
        bits <<= 31 - 8 * width;
        memcpy(out, &bits, 4); /* the machine is little-endian, as below */
    }
    return HT_OK;
}

/* narrow with a factor in front: from each element that times the sum of its row of the weights
 * is to be taken. Sums wrap, which is defined for unsigned integers. */
static ht_status unpack_folded(const ht_tensor *tensor, ht_span stored, const ht_constant *before,
                               uint8_t *out) {
    const uint32_t elements = (uint32_t)tensor->elements;
    if (stored.size < 1 || before->elements == 0 || before->elements % elements != 0) {
        return HT_ERR_CODE_STREAM;
    }
    const uint32_t width = (stored.size - 1) / elements;
    if (width > 3 || stored.size != 1 + width * elements) {
        return HT_ERR_CODE_STREAM;
    }
    widen(stored.bytes + 1, width, elements, out);
    const uint32_t factor = (uint32_t)(int32_t)(int8_t)stored.bytes[0];
    const int8_t *weight = before->values;
    const uint32_t row = before->elements / elements;
    for (uint32_t i = 0; i < elements; i++, weight += row, out += 4) {
        int64_t sum = 0;
        for (uint32_t k = 0; k < row; k++) {
            sum += weight[k];
        }
        const uint32_t all = load32_le(out) - (uint32_t)sum * factor;
        memcpy(out, &all, 4); /* the machine is little-endian: ht_bundle_open has looked */
    }
    return HT_OK;
}

/* Rows are output channels, as in masks. */
static ht_status unpack_ctx(const ht_tensor *tensor, ht_span stored, int8_t *out) {
    const int32_t rows = ht_tensor_rows(tensor);
    return ht_ctx_decode(stored.bytes, stored.size, rows, tensor->elements / rows, out);
}

static ht_status unpack(const ht_bundle *bundle, const ht_tensor *tensor, const ht_constant *before,
                        uint8_t *out) {
    const ht_span stored = {bundle->section[HT_DATA].bytes + tensor->offset, tensor->stored_size};
    switch (tensor->coding) {
    case HT_NARROW:
        return unpack_narrow(tensor, stored, out);
    case HT_MANTISSA:
        return unpack_mantissa(tensor, stored, out);
    case HT_FOLDED:
        return unpack_folded(tensor, stored, before, out);
    case HT_CTX:
        return unpack_ctx(tensor, stored, (int8_t *)out);
    default:
        return unpack_huffman(bundle, tensor, stored, (int8_t *)out);
    }
}

static void set_before(ht_constant *before, const ht_tensor *tensor, const uint8_t *values) {
    before->values = (const int8_t *)values;
    const int is_readable = tensor->dtype == HT_INT8 && !ht_is_in_place(tensor);
    before->elements = is_readable ? (uint32_t)tensor->elements : 0;
}

ht_status ht_unpack_tensor(const ht_bundle *bundle, const ht_tensor *tensor, ht_constant *before,
                           uint8_t *out) {
    memset(out + ht_unpacked_bytes(tensor) - 16, 0, 16);
    const ht_status status = unpack(bundle, tensor, before, out);
    set_before(before, tensor, out);
    return status;
}

void ht_pass_constant(const ht_bundle *bundle, const ht_tensor *tensor, ht_constant *before) {
    set_before(before, tensor, bundle->section[HT_DATA].bytes + tensor->offset);
}

ht_status ht_unpack_all(const ht_bundle *bundle, uint8_t *out) {
    ht_constant before = {NULL, 0};
    for (uint32_t i = 0; i < bundle->tensor_count; i++) {
        ht_tensor tensor;
        (void)ht_bundle_tensor(bundle, i, &tensor);
        if (ht_is_coded(&tensor)) {
            const ht_status status = ht_unpack_tensor(bundle, &tensor, &before, out);
            if (status != HT_OK) {
                return status;
            }
            out += ht_unpacked_bytes(&tensor);
        } else if (tensor.place == HT_CONSTANT) {
            ht_pass_constant(bundle, &tensor, &before);
        }
    }
    return HT_OK;
}

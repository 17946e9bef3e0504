#include "hardtack/ht_bundle.h"

#include "hardtack/ht_huffman.h"
#include "ht_load.h"

#define TENS_HEAD_SIZE 4u
#define SECTION_TABLE_SIZE (4u * HT_SECTIONS)
#define MAX_MEMORY (1u << 30) /* arena and unpack memory: sums below never wrap */
#define MAX_VERSION 1000000000u

/* What an entry of the tensor table has (SPEC section 1.5). */
enum { WIDE_CHANNELS = 1, WIDE_OTHERS = 2, WIDE_OFFSET = 4, TABLES = 8, LAYOUTS = 16 };

/* In the header, bytes. */
enum {
    AT_FORMAT = 4,
    AT_ABI = 6,
    AT_TOTAL_SIZE = 8,
    AT_PAYLOAD = 12,
    AT_NAME = 48,
    AT_VERSION = 80,
    AT_RESERVED_A = 92,
    AT_HARDWARE = 96,
    AT_MODEL_ID = 112,
    AT_ARENA_SIZE = 128,
    AT_UNPACKED_SIZE = 132,
    AT_RESERVED_B = 144,
    AT_SIGNATURE = 160
};

static uint32_t round_up(uint32_t value, uint32_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

static uint32_t element_size(const ht_tensor *tensor) {
    return tensor->dtype == HT_INT32 ? 4 : tensor->dtype == HT_INT16 ? 2 : 1;
}

uint32_t ht_tensor_bytes(const ht_tensor *tensor) {
    return (uint32_t)tensor->elements * element_size(tensor);
}

int ht_is_in_place(const ht_tensor *tensor) {
    return tensor->coding >= HT_SPARSE && tensor->coding < HT_IN_PLACE_END;
}

int ht_is_coded(const ht_tensor *tensor) {
    return tensor->coding > HT_RAW && !ht_is_in_place(tensor);
}

int32_t ht_tensor_rows(const ht_tensor *tensor) {
    return tensor->dims[0] > 1 ? tensor->dims[0] : tensor->dims[1] * tensor->dims[2];
}

uint32_t ht_unpacked_bytes(const ht_tensor *tensor) {
    return round_up(ht_tensor_bytes(tensor), 16);
}

static int is_word_letter(uint8_t byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9');
}

/* Is the field [a-z0-9][a-z0-9-]* and then zeros, at least one? */
static int is_word(const uint8_t *field, size_t room) {
    size_t length = 0;
    while (length < room &&
           (is_word_letter(field[length]) || (length > 0 && field[length] == '-'))) {
        length++;
    }
    return length > 0 && length < room && all_zero(field + length, room - length);
}

static int is_version(const uint8_t *field) {
    return load32_le(field) < MAX_VERSION && load32_le(field + 4) < MAX_VERSION &&
           load32_le(field + 8) < MAX_VERSION;
}

static int is_header_sound(const uint8_t *bytes, const ht_bundle *bundle) {
    return bundle->total_size % 4 == 0 && bundle->total_size <= MAX_MEMORY &&
           bundle->total_size >= HT_HEADER_SIZE &&
           load32_le(bytes + AT_PAYLOAD) == HT_HEADER_SIZE && all_zero(bytes + AT_RESERVED_A, 4) &&
           all_zero(bytes + AT_RESERVED_B, AT_SIGNATURE - AT_RESERVED_B) &&
           bundle->arena_size % 16 == 0 && bundle->arena_size <= MAX_MEMORY &&
           bundle->unpacked_size % 16 == 0 && bundle->unpacked_size <= MAX_MEMORY &&
           is_word(bytes + AT_NAME, AT_VERSION - AT_NAME) && is_version(bytes + AT_VERSION) &&
           is_word(bytes + AT_HARDWARE, AT_MODEL_ID - AT_HARDWARE);
}

static ht_status read_header(const uint8_t *bytes, size_t size, ht_bundle *bundle) {
    if (size < HT_HEADER_SIZE || memcmp(bytes, "HTB1", 4) != 0) {
        return HT_ERR_NOT_A_BUNDLE;
    }
    if (load16_le(bytes + AT_FORMAT) != HT_FORMAT_VERSION) {
        return HT_ERR_FORMAT;
    }
    if (load16_le(bytes + AT_ABI) != HT_KERNEL_ABI) {
        return HT_ERR_ABI;
    }
    bundle->bytes = bytes;
    bundle->total_size = load32_le(bytes + AT_TOTAL_SIZE);
    bundle->arena_size = load32_le(bytes + AT_ARENA_SIZE);
    bundle->unpacked_size = load32_le(bytes + AT_UNPACKED_SIZE);
    if (bundle->total_size > size) {
        return HT_ERR_TRUNCATED;
    }
    return is_header_sound(bytes, bundle) ? HT_OK : HT_ERR_HEADER;
}

static ht_status read_sections(ht_bundle *bundle) {
    if (bundle->total_size - HT_HEADER_SIZE < SECTION_TABLE_SIZE) {
        return HT_ERR_SECTION;
    }
    const uint8_t *sizes = bundle->bytes + HT_HEADER_SIZE;
    uint32_t at = HT_HEADER_SIZE + SECTION_TABLE_SIZE;
    for (int i = 0; i < HT_SECTIONS; i++) {
        const uint32_t size = load32_le(sizes + 4 * i);
        if (size > bundle->total_size - at) {
            return HT_ERR_SECTION;
        }
        bundle->section[i].bytes = bundle->bytes + at;
        bundle->section[i].size = size;
        /* Both are multiples of 4, so rounding up does not leave the file. */
        const uint32_t next = round_up(at + size, 4);
        if (!all_zero(bundle->bytes + at + size, next - at - size)) {
            return HT_ERR_SECTION;
        }
        at = next;
    }
    return at == bundle->total_size ? HT_OK : HT_ERR_SECTION;
}

/* Walk HUFF: how many bytes table `at` takes, or 0 when it does not fit. */
static uint32_t code_table_size(const ht_span *huff, uint32_t at) {
    if (huff->size - at < 2) {
        return 0;
    }
    const uint32_t first = huff->bytes[at];
    const uint32_t last = huff->bytes[at + 1];
    if (last < first) {
        return 0;
    }
    const uint32_t size = 2 + (last - first + 2) / 2;
    return size <= huff->size - at ? size : 0;
}

static ht_status check_code_tables(const ht_bundle *bundle) {
    const ht_span *huff = &bundle->section[HT_HUFF];
    if (huff->size < 4 || huff->size % 4 != 0) {
        return HT_ERR_CODE_TABLE;
    }
    const uint32_t count = load32_le(huff->bytes);
    if (count > 256) {
        return HT_ERR_CODE_TABLE;
    }
    uint32_t at = 4;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t size = code_table_size(huff, at);
        if (size == 0 || ht_huffman_check(huff->bytes + at, size) != HT_OK) {
            return HT_ERR_CODE_TABLE;
        }
        at += size;
    }
    const int padded = round_up(at, 4) == huff->size && all_zero(huff->bytes + at, huff->size - at);
    return padded ? HT_OK : HT_ERR_CODE_TABLE;
}

ht_status ht_bundle_code_table(const ht_bundle *bundle, uint32_t index, ht_span *table) {
    const ht_span *huff = &bundle->section[HT_HUFF];
    if (index >= load32_le(huff->bytes)) {
        return HT_ERR_ARGUMENT;
    }
    uint32_t at = 4;
    for (uint32_t i = 0; i < index; i++) {
        at += code_table_size(huff, at);
    }
    table->bytes = huff->bytes + at;
    table->size = code_table_size(huff, at);
    return HT_OK;
}

/* Read a field of one byte or two; *next is where the following one begins. */
static uint32_t read_field(const uint8_t **next, uint32_t is_wide) {
    const uint32_t value = is_wide ? load16_le(*next) : **next;
    *next += is_wide ? 2 : 1;
    return value;
}

static ht_status read_dims(const uint8_t **next, uint32_t layout, ht_tensor *tensor) {
    uint64_t elements = 1;
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t dim = read_field(next, layout & (i < 3 ? WIDE_OTHERS : WIDE_CHANNELS));
        tensor->dims[i] = (int32_t)dim;
        elements *= dim;
    }
    if (elements == 0 || elements >= 1u << 28) {
        return HT_ERR_TENSOR;
    }
    tensor->elements = (int32_t)elements;
    return HT_OK;
}

/* Find the stored bytes of a constant: those that are not raw have their length in front. Raw ones
 * are used where they lie, by the word. */
static ht_status read_stored(const ht_span *data, uint32_t layout, ht_tensor *tensor) {
    tensor->stored_size = ht_tensor_bytes(tensor);
    if (tensor->offset > data->size) {
        return HT_ERR_TENSOR;
    }
    if (tensor->coding != HT_RAW) {
        const uint32_t length_size = layout & WIDE_OFFSET ? 4 : 2;
        if (data->size - tensor->offset < length_size) {
            return HT_ERR_TENSOR;
        }
        const uint8_t *length = data->bytes + tensor->offset;
        tensor->stored_size = layout & WIDE_OFFSET ? load32_le(length) : load16_le(length);
        tensor->offset += length_size;
    } else if (tensor->offset % (tensor->stored_size >= 4 ? 4 : element_size(tensor)) != 0) {
        return HT_ERR_TENSOR;
    }
    return tensor->stored_size <= data->size - tensor->offset ? HT_OK : HT_ERR_TENSOR;
}

static uint32_t entry_size(uint32_t layout) {
    return 7u + (layout & WIDE_CHANNELS ? 1u : 0u) + (layout & WIDE_OTHERS ? 3u : 0u) +
           (layout & WIDE_OFFSET ? 2u : 0u) + (layout & TABLES ? 2u : 0u);
}

static ht_status read_entry(const ht_bundle *bundle, uint32_t index, ht_tensor *tensor) {
    const uint8_t *table = bundle->section[HT_TENS].bytes;
    const uint32_t layout = table[2];
    const uint8_t *entry = table + TENS_HEAD_SIZE + index * entry_size(layout);
    tensor->dtype = entry[0] & 15;
    tensor->coding = entry[0] >> 4;
    tensor->place = tensor->coding == HT_UNSTORED ? HT_ARENA : HT_CONSTANT;
    tensor->table = layout & TABLES ? entry[1] : 0;
    tensor->gap_table = layout & TABLES ? entry[2] : 0;
    tensor->stored_size = 0;
    entry += layout & TABLES ? 3 : 1;
    const ht_status status = read_dims(&entry, layout, tensor);
    tensor->offset = layout & WIDE_OFFSET ? load32_le(entry) : load16_le(entry);
    if (status != HT_OK || tensor->place == HT_ARENA) {
        return status;
    }
    return read_stored(&bundle->section[HT_DATA], layout, tensor);
}

static int arena_entry_is_sound(const ht_bundle *bundle, const ht_tensor *tensor) {
    const uint32_t size = ht_tensor_bytes(tensor);
    return tensor->dtype != HT_INT32 && tensor->table == 0 && tensor->gap_table == 0 &&
           tensor->offset % 16 == 0 && tensor->offset <= bundle->arena_size &&
           size <= bundle->arena_size - tensor->offset;
}

/* Does the coding suit the type, and are its tables there? */
static int constant_entry_is_sound(const ht_bundle *bundle, const ht_tensor *tensor) {
    const uint32_t tables = load32_le(bundle->section[HT_HUFF].bytes);
    switch (tensor->coding) {
    case HT_RAW:
        return tensor->table == 0 && tensor->gap_table == 0;
    case HT_CTX:
    case HT_SPARSE:
    case HT_PACKED:
    case HT_SPARSE_COLUMNS:
        return tensor->dtype == HT_INT8 && tensor->table == 0 && tensor->gap_table == 0;
    case HT_NARROW:
    case HT_FOLDED:
    case HT_MANTISSA:
        return tensor->dtype == HT_INT32 && tensor->table == 0 && tensor->gap_table == 0;
    case HT_DENSE_HUFF:
    case HT_MASKED_HUFF:
        return tensor->dtype == HT_INT8 && tensor->table < tables && tensor->gap_table == 0;
    case HT_GAP_HUFF:
        return tensor->dtype == HT_INT8 && tensor->table < tables && tensor->gap_table < tables;
    default:
        return 0;
    }
}

static ht_status check_tensors(ht_bundle *bundle) {
    const ht_span *tens = &bundle->section[HT_TENS];
    if (tens->size < TENS_HEAD_SIZE) {
        return HT_ERR_TENSOR;
    }
    bundle->tensor_count = load16_le(tens->bytes);
    const uint32_t layout = tens->bytes[2];
    if (bundle->tensor_count == 0 || bundle->tensor_count > 16384 || layout >= LAYOUTS ||
        tens->bytes[3] != 0 ||
        tens->size != TENS_HEAD_SIZE + bundle->tensor_count * entry_size(layout)) {
        return HT_ERR_TENSOR;
    }
    uint64_t unpacked = 0;
    for (uint32_t i = 0; i < bundle->tensor_count; i++) {
        ht_tensor tensor;
        if (read_entry(bundle, i, &tensor) != HT_OK || tensor.dtype < HT_INT8 ||
            tensor.dtype > HT_INT16) {
            return HT_ERR_TENSOR;
        }
        const int sound = tensor.place == HT_ARENA ? arena_entry_is_sound(bundle, &tensor)
                                                   : constant_entry_is_sound(bundle, &tensor);
        if (!sound) {
            return HT_ERR_TENSOR;
        }
        unpacked += ht_is_coded(&tensor) ? ht_unpacked_bytes(&tensor) : 0;
    }
    return unpacked == bundle->unpacked_size ? HT_OK : HT_ERR_TENSOR;
}

/* int16 and int32 constants are used where they lie, so the machine must be little-endian too. */
static int machine_is_little_endian(void) {
    const uint16_t one = 1;
    uint8_t low;
    memcpy(&low, &one, 1);
    return low == 1;
}

ht_status ht_bundle_open(const void *bytes, size_t size, ht_bundle *bundle) {
    if (bytes == NULL || bundle == NULL || !machine_is_little_endian()) {
        return HT_ERR_ARGUMENT;
    }
    if ((uintptr_t)bytes % 4 != 0) {
        return HT_ERR_ALIGNMENT;
    }
    ht_status status = read_header(bytes, size, bundle);
    if (status == HT_OK) {
        status = read_sections(bundle);
    }
    if (status == HT_OK) {
        status = check_code_tables(bundle);
    }
    if (status == HT_OK) {
        status = check_tensors(bundle);
    }
    return status;
}

ht_status ht_bundle_tensor(const ht_bundle *bundle, uint32_t index, ht_tensor *tensor) {
    if (index >= bundle->tensor_count) {
        return HT_ERR_ARGUMENT;
    }
    return read_entry(bundle, index, tensor);
}

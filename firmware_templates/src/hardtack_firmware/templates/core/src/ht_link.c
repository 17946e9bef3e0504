#include "hardtack/ht_link.h"

#include "hardtack/ht_board.h"
#include "hardtack/ht_crc32.h"
#include "ht_bytes.h"
#include "ht_link_internal.h"

#define REPLY 0x80
#define HELLO 0x01

static uint32_t min32(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

static ht_reason end_reply(ht_request *request, const uint8_t *end) {
    request->reply = (uint32_t)(end - request->body);
    return HT_REASON_OK;
}

/* ---- What the device is */

static ht_reason write_hello(ht_link *link, ht_request *request) {
    const ht_device *device = &link->device;
    const ht_flash *flash = device->flash;
    uint8_t *end = request->body;
    uint8_t id[16] = {0};
    const uint32_t name_size = (uint32_t)strlen(link->firmware);
    *end++ = HT_PROTOCOL;
    *end++ = link->window;
    end = put16(end, HT_MAX_BODY);
    end = put_bytes(end, link->boot_id, sizeof link->boot_id);
    memset(end, 0, 16);
    memcpy(end, device->trust.hardware, strlen(device->trust.hardware));
    end = put32(end + 16, flash->slot_size);
    end = put32(end, flash->chunk_size);
    end = put32(end, flash->write_unit);
    end = put32(end, device->pool_size);
    for (int i = 0; i < HT_KEYS; i++) {
        ht_key_id(device->trust.keys[i], end);
        end += 8;
    }
    end = put32(end, link->run.newest);
    end = put16(end, HT_KERNEL_ABI);
    end = put16(end, 0);
    ht_board_id(id);
    end = put_bytes(end, id, sizeof id);
    return end_reply(request, put_bytes(end, link->firmware, min32(name_size, 64)));
}

static ht_reason hello(ht_link *link, ht_request *request) {
    if (request->body[0] != HT_PROTOCOL) {
        request->detail = HT_PROTOCOL;
        return HT_REASON_MALFORMED;
    }
    if (is_zero(link->boot_id, sizeof link->boot_id)) {
        memcpy(link->boot_id, request->body + 4, sizeof link->boot_id);
    }
    return write_hello(link, request);
}

static uint8_t *put_slot(const ht_device *device, uint32_t slot, uint8_t *end) {
    const uint8_t *bundle = ht_device_slot(device, slot);
    memset(end, 0, 100);
    if (ht_header_is_plausible(bundle, device->flash->slot_size)) {
        end[0] = 1;
        memcpy(end + 4, bundle + HT_AT_NAME, 32 + 12);
        memcpy(end + 48, bundle + HT_AT_MODEL_ID, 16);
        ht_bundle_id(bundle, end + 64);
        memcpy(end + 96, bundle + HT_AT_TOTAL_SIZE, 4);
    }
    return end + 100;
}

static ht_reason status(ht_link *link, ht_request *request) {
    const ht_device *device = &link->device;
    const ht_journal *journal = &device->journal;
    uint32_t used = 0;
    uint32_t size = 0;
    uint8_t *end = request->body;
    *end++ = journal->active;
    *end++ = journal->trial;
    *end++ = journal->attempts;
    *end++ = journal->outcome;
    end = put32(end, journal->detail);
    for (int i = 0; i < 3; i++) {
        end = put32(end, journal->floor[i]);
    }
    end = put32(end, journal->sequence);
    *end++ = device->running;
    *end++ = device->why;
    *end++ = ht_fault_read(0)->id != 0;
    *end++ = link->reset_cause;
    ht_board_stack(&used, &size);
    end = put32(end, link->uptime_ms);
    end = put32(end, used);
    end = put32(end, size);
    end = put_bytes(end, journal->refused, sizeof journal->refused);
    end = put32(end, link->predictions);
    return end_reply(request, put_slot(device, 1, put_slot(device, 0, end)));
}

/* ---- Slots */

static ht_reason check(ht_link *link, ht_request *request) {
    const ht_flash *flash = link->device.flash;
    const uint32_t slot = request->body[0];
    const uint32_t first = get16(request->body + 2);
    const uint32_t count = min32(get16(request->body + 4), HT_MAX_BODY / 4);
    const uint32_t chunks = flash->slot_size / flash->chunk_size;
    if (slot > 1 || first > chunks || count > chunks - first) {
        return HT_REASON_RANGE;
    }
    const uint8_t *chunk = ht_device_slot(&link->device, slot) + first * flash->chunk_size;
    uint8_t *end = request->body;
    for (uint32_t i = 0; i < count; i++) {
        end = put32(end, ht_crc32(0, chunk, flash->chunk_size));
        chunk += flash->chunk_size;
    }
    return end_reply(request, end);
}

static ht_reason erase(ht_link *link, ht_request *request) {
    return ht_device_erase(&link->device, request->body[0], get16(request->body + 2));
}

static ht_reason write(ht_link *link, ht_request *request) {
    return ht_device_write(&link->device, request->body[0], get32(request->body + 4),
                           request->body + 8, request->size - 8, &request->detail);
}

static ht_reason finish(ht_link *link, ht_request *request) {
    int active = 0;
    const ht_reason reason =
        ht_device_finish(&link->device, request->body[0], request->body[1] == 1, request->body + 4,
                         &request->detail, &active);
    if (reason == HT_REASON_OK) {
        request->body[0] = (uint8_t)active;
        request->reply = 1;
        link->wants_reset = !active;
    }
    return reason;
}

static ht_reason read(ht_link *link, ht_request *request) {
    const uint32_t slot = request->body[0];
    const uint32_t slot_size = link->device.flash->slot_size;
    const uint32_t offset = get32(request->body + 4);
    if (slot > 1 || offset > slot_size) {
        return HT_REASON_RANGE;
    }
    request->reply = min32(min32(get16(request->body + 2), slot_size - offset), HT_MAX_BODY);
    memcpy(request->body, ht_device_slot(&link->device, slot) + offset, request->reply);
    return HT_REASON_OK;
}

/* ---- Reports */

/* Write the cells that count something, as pairs; returns how many. */
static uint32_t put_pairs(const uint16_t *cells, uint32_t count, uint8_t **end) {
    uint32_t pairs = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (cells[i] != 0) {
            *end = put32(put16(*end, i), cells[i]);
            pairs++;
        }
    }
    return pairs;
}

HT_STATIC_ASSERT(a_window_fits_a_body, 60 + 6 * (HT_LATENCY_BUCKETS + HT_CLASSES) <= HT_MAX_BODY);

static ht_reason telemetry(ht_link *link, ht_request *request) {
    static const ht_window_counts nothing;
    const ht_window_counts *window = ht_telemetry_tell(&link->telemetry, get32(request->body));
    uint8_t *end = request->body;
    window = window != NULL ? window : &nothing;
    end = put32(end, window->sequence);
    end = put32(end, window->predictions);
    end = put32(end, window->errors);
    end = put32(end, window->labelled);
    end = put32(end, window->correct);
    end = put32(end, (uint32_t)window->latency_sum_us);
    end = put32(end, (uint32_t)(window->latency_sum_us >> 32));
    end = put32(end, window->first_ms);
    end = put32(end, window->last_ms);
    end = put32(end, link->uptime_ms);
    memset(end, 0, 16);
    if (link->device.running != HT_NO_SLOT) {
        memcpy(end, ht_device_slot(&link->device, link->device.running) + HT_AT_MODEL_ID, 16);
    }
    uint8_t *counts = end + 16;
    end = counts + 4;
    put16(counts, put_pairs(window->latency, HT_LATENCY_BUCKETS, &end));
    put16(counts + 2, put_pairs(window->classes, HT_CLASSES, &end));
    return end_reply(request, end);
}

static ht_reason log_text(ht_link *link, ht_request *request) {
    uint32_t position = get32(request->body);
    const uint32_t n = ht_log_read(&link->log, &position, request->body + 4, HT_MAX_BODY - 4);
    put32(request->body, position);
    request->reply = 4 + n;
    return HT_REASON_OK;
}

static ht_reason fault(ht_link *link, ht_request *request) {
    const ht_fault *record = ht_fault_read(get32(request->body));
    uint8_t *end = request->body;
    (void)link;
    end = put32(end, record->id);
    end = put32(end, record->pc);
    end = put32(end, record->lr);
    end = put32(end, record->psr);
    end = put32(end, record->cause);
    end = put32(end, record->op);
    return end_reply(request, put32(end, record->count));
}

static ht_reason reset(ht_link *link, ht_request *request) {
    (void)request;
    link->wants_reset = 1;
    return HT_REASON_OK;
}

/* ---- Dispatch */

static const struct {
    uint8_t type;
    uint8_t fixed;   /* bytes of the body before what varies */
    uint8_t varies;  /* 1: more may follow */
    uint8_t zero_at; /* a byte that must be zero, 0 for none */
    ht_handler handle;
} requests[] = {
    {HELLO, 20, 0, 1, hello},        {0x02, 0, 0, 0, status},
    {0x10, 6, 0, 1, check},          {0x11, 4, 0, 1, erase},
    {0x12, 8, 1, 1, write},          {0x13, 36, 0, 2, finish},
    {0x14, 8, 0, 1, read},           {0x20, 8, 1, 0, ht_link_input},
    {0x21, 8, 0, 6, ht_link_run},    {0x22, 12, 0, 10, ht_link_output},
    {0x23, 4, 0, 0, ht_link_golden}, {0x24, 4, 0, 0, ht_link_layers},
    {0x30, 4, 0, 0, telemetry},      {0x31, 4, 0, 0, log_text},
    {0x32, 4, 0, 0, fault},          {0x33, 0, 0, 0, reset},
};

static ht_reason dispatch(ht_link *link, uint8_t type, ht_request *request) {
    for (uint32_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        if (requests[i].type != type) {
            continue;
        }
        const uint32_t fixed = requests[i].fixed;
        const uint8_t zero_at = requests[i].zero_at;
        if (request->size < fixed || (request->size > fixed && !requests[i].varies) ||
            (zero_at != 0 && request->body[zero_at] != 0)) {
            return HT_REASON_MALFORMED;
        }
        return requests[i].handle(link, request);
    }
    return HT_REASON_UNKNOWN;
}

static void answer(ht_link *link) {
    uint8_t *head = link->frame.bytes;
    ht_request request = {head + HT_FRAME_HEAD, link->frame.body_size, 0, 0};
    const ht_reason reason = dispatch(link, head[0], &request);
    if (reason != HT_REASON_OK && request.reply == 0) {
        put32(request.body, request.detail);
        request.reply = 4;
    }
    head[0] |= REPLY;
    head[1] = (uint8_t)reason;
    link->frame.body_size = request.reply;
    ht_frame_send(&link->frame, ht_board_write);
}

void ht_link_take(ht_link *link, uint8_t byte) {
    /* What has the reply bit is an echo of ours. */
    if (ht_frame_take(&link->frame, byte) && (link->frame.bytes[0] & REPLY) == 0) {
        answer(link);
    }
}

void ht_link_announce(ht_link *link) {
    uint8_t *head = link->frame.bytes;
    ht_request request = {head + HT_FRAME_HEAD, 0, 0, 0};
    (void)write_hello(link, &request);
    head[0] = HELLO | REPLY;
    head[1] = HT_REASON_OK;
    put16(head + 2, 0);
    link->frame.body_size = request.reply;
    ht_frame_send(&link->frame, ht_board_write);
}

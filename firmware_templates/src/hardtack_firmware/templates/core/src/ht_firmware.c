/* The firmware: start the model, then serve the link for ever. */
#include "hardtack/ht_firmware.h"

#include <string.h>

#include "hardtack/ht_board.h"
#include "hardtack/ht_link.h"

#ifndef HT_FIRMWARE_NAME
#define HT_FIRMWARE_NAME "hardtack 0.1.0"
#endif

/* Memory for a model: its arena, and unpacked weights that are not in flash. The board's build says
 * how much there is. */
static uint64_t pool[HT_POOL_SIZE / 8];
static ht_link link;

HT_STATIC_ASSERT(POOL_SIZE_is_a_multiple_of_16, HT_POOL_SIZE % 16 == 0);
HT_STATIC_ASSERT(a_body_takes_a_status, HT_MAX_BODY >= 256 && HT_MAX_BODY % 4 == 0);

static void log_start(void) {
    const ht_device *device = &link.device;
    ht_log_text(&link.log, HT_FIRMWARE_NAME " on " HT_HARDWARE);
    if (device->running == HT_NO_SLOT) {
        ht_log_text(&link.log, ": no model, reason ");
        ht_log_number(&link.log, device->why);
    } else {
        static const char *const ways[] = {"memory", "flash", "memory, layer by layer"};
        ht_log_text(&link.log, device->running == 0 ? ": slot A" : ": slot B");
        if (device->model.bundle.unpacked_size > 0) {
            ht_log_text(&link.log, ", weights unpacked to ");
            ht_log_text(&link.log, ways[device->way]);
        }
    }
    ht_log_text(&link.log, "\n");
}

/* Milliseconds of uptime from a microsecond counter that wraps. */
static void keep_time(uint32_t *last_us) {
    const uint32_t ms = (ht_board_micros() - *last_us) / 1000;
    *last_us += 1000 * ms;
    link.uptime_ms += ms;
}

static void reset(void) {
    ht_fault_expect_reset();
    ht_board_reset();
}

void ht_firmware_start(void) {
    memset(&link, 0, sizeof link);
    ht_board_start();
    link.reset_cause = (uint8_t)ht_fault_start();
    link.window = HT_WINDOW;
    link.firmware = HT_FIRMWARE_NAME;
    link.device.flash = ht_board_flash();
    link.device.trust.keys = ht_public_keys;
    link.device.trust.hardware = HT_HARDWARE;
    link.device.pool = (uint8_t *)pool;
    link.device.pool_size = HT_POOL_SIZE;
    link.device.watch = ht_fault_watch;
    ht_device_start(&link.device);
    log_start();
    ht_link_announce(&link);
}

void ht_firmware_serve(void) {
    static uint32_t last_us;
    uint8_t bytes[32];
    size_t size = 1;
    keep_time(&last_us);
    /* A whole frame, but not without end. */
    for (size_t taken = 0; size > 0 && taken < HT_FRAME_ROOM; taken += size) {
        size = ht_board_read(bytes, sizeof bytes);
        for (size_t i = 0; i < size; i++) {
            ht_link_take(&link, bytes[i]);
            if (link.wants_reset) {
                reset();
            }
        }
    }
}

ht_model *ht_firmware_model(void) {
    return link.device.running == HT_NO_SLOT ? NULL : &link.device.model;
}

uint32_t ht_firmware_run(uint32_t label) {
    return ht_link_predict(&link, label);
}

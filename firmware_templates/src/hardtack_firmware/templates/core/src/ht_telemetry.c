#include "hardtack/ht_telemetry.h"

#include <string.h>

#define EDGES 48u

/* floor(8 * 2^(k/2)). For odd k, 8 * sqrt(2) with 27 bits behind the point, shifted: exact, since
 * dropping bits only ever drops what floor drops. */
static uint32_t edge(uint32_t k) {
    return k % 2 == 0 ? 8u << k / 2 : 1518500249u >> (27 - k / 2);
}

uint32_t ht_latency_bucket(uint32_t latency_us) {
    uint32_t bucket = 0;
    while (bucket < EDGES && latency_us >= edge(bucket)) {
        bucket++;
    }
    return bucket;
}

static void count(uint16_t *cell) {
    *cell = (uint16_t)(*cell + (*cell < UINT16_MAX));
}

static void touch(ht_window_counts *window, uint32_t now_ms) {
    if (window->predictions + window->errors == 0) {
        window->first_ms = now_ms;
    }
    window->last_ms = now_ms;
}

void ht_telemetry_prediction(ht_telemetry *telemetry, uint32_t now_ms, uint32_t latency_us,
                             uint32_t top, uint32_t label) {
    ht_window_counts *window = &telemetry->open;
    touch(window, now_ms);
    window->predictions++;
    window->latency_sum_us += latency_us;
    count(&window->latency[ht_latency_bucket(latency_us)]);
    count(&window->classes[top < HT_CLASSES ? top : HT_CLASSES - 1]);
    if (label != HT_NO_LABEL) {
        window->labelled++;
        window->correct += top == label;
    }
}

void ht_telemetry_error(ht_telemetry *telemetry, uint32_t now_ms) {
    touch(&telemetry->open, now_ms);
    telemetry->open.errors++;
}

const ht_window_counts *ht_telemetry_tell(ht_telemetry *telemetry, uint32_t acknowledged) {
    ht_window_counts *told = &telemetry->told;
    ht_window_counts *open = &telemetry->open;
    if (told->sequence != 0 && told->sequence == acknowledged) {
        told->sequence = 0;
    }
    if (told->sequence == 0) {
        if (open->predictions + open->errors == 0) {
            return NULL;
        }
        *told = *open;
        told->sequence = ++telemetry->sequence;
        memset(open, 0, sizeof *open);
    }
    return told;
}

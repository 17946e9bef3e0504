/* Telemetry windows: counts and histograms with the edges of SPEC section 4.3. */
#ifndef HARDTACK_HT_TELEMETRY_H
#define HARDTACK_HT_TELEMETRY_H

#include <stdint.h>

#define HT_LATENCY_BUCKETS 49u

#ifndef HT_CLASSES
#define HT_CLASSES 32u /* the last one counts all beyond it */
#endif

#define HT_NO_LABEL 0xFFFFu

typedef struct ht_window_counts {
    uint32_t sequence; /* 0: not closed yet */
    uint32_t predictions, errors, labelled, correct;
    uint64_t latency_sum_us;
    uint32_t first_ms, last_ms; /* uptime */
    uint16_t latency[HT_LATENCY_BUCKETS];
    uint16_t classes[HT_CLASSES];
} ht_window_counts;

/* The window that counts, and the one that was told and not acknowledged. */
typedef struct ht_telemetry {
    ht_window_counts open, told;
    uint32_t sequence; /* of the last window closed */
} ht_telemetry;

/* Bucket of a latency: the number of edges floor(8 * 2^(k/2)), k = 0..47, not above it. */
uint32_t ht_latency_bucket(uint32_t latency_us);

/* Count a prediction; label is the true class, or HT_NO_LABEL. */
void ht_telemetry_prediction(ht_telemetry *telemetry, uint32_t now_ms, uint32_t latency_us,
                             uint32_t top, uint32_t label);

/* Count a request that could not be answered. */
void ht_telemetry_error(ht_telemetry *telemetry, uint32_t now_ms);

/* The window to tell: that told before, until it is acknowledged; then the next one. NULL when
 * there is none. */
const ht_window_counts *ht_telemetry_tell(ht_telemetry *telemetry, uint32_t acknowledged);

#endif

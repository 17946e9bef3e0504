/* The device's end of the serial protocol: one request in, one reply out (SPEC section 7). */
#ifndef HARDTACK_HT_LINK_H
#define HARDTACK_HT_LINK_H

#include "hardtack/ht_device.h"
#include "hardtack/ht_fault.h"
#include "hardtack/ht_frame.h"
#include "hardtack/ht_log.h"
#include "hardtack/ht_telemetry.h"

#define HT_PROTOCOL 1

/* The run whose input is coming in, or whose output is there. */
typedef struct ht_run_state {
    uint32_t newest; /* number of the run */
    uint32_t taken;  /* bytes of its input */
    uint32_t latency_us;
    uint32_t top; /* index of the largest code of the first output */
    int done;
} ht_run_state;

typedef struct ht_link {
    ht_frame frame;
    ht_device device;
    ht_telemetry telemetry;
    ht_log log;
    ht_run_state run;
    uint8_t boot_id[16];
    uint8_t window; /* frames a host may have under way */
    uint8_t reset_cause;
    uint8_t wants_reset; /* set when the caller is to reset, the reply being sent */
    uint32_t predictions;
    uint32_t uptime_ms;
    const char *firmware; /* name and version */
} ht_link;

/* Take a byte of the line, and answer the request it completes, if it does. */
void ht_link_take(ht_link *link, uint8_t byte);

/* Run the model on what the application wrote into its inputs, count it, and return the index of
 * the largest code of the first output. A host's run that was under way begins anew. */
uint32_t ht_link_predict(ht_link *link, uint32_t label);

/* Send a HELLO reply unasked. */
void ht_link_announce(ht_link *link);

#endif

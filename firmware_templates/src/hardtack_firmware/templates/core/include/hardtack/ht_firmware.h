/* The main loop of a firmware that does nothing else:
 *
 *     ht_firmware_start();
 *     for (;;) {
 *         ht_firmware_serve();
 *     }
 *
 * A firmware that has work of its own does it between two calls of ht_firmware_serve.
 *
 * The build defines: HT_HARDWARE (class of the device, text), HT_POOL_SIZE (bytes of memory for a
 * model, a multiple of 16), HT_WINDOW (frames that the board's receive buffer holds, 1 without),
 * HT_SLOT_SIZE (bytes of a model slot). */
#ifndef HARDTACK_HT_FIRMWARE_H
#define HARDTACK_HT_FIRMWARE_H

#include "hardtack/ht_interpreter.h"
#include "hardtack/ht_telemetry.h" /* HT_NO_LABEL */

/* Start the board and the model, and announce the device on the line. */
void ht_firmware_start(void);

/* Take what has come in on the line, a frame at most, and answer it; returns at once when nothing
 * has. Only a port that receives by interrupt keeps what comes between two calls. */
void ht_firmware_serve(void);

/* The model that runs, for ht_input and ht_output; NULL when none does. It may be another one
 * after ht_firmware_serve. */
ht_model *ht_firmware_model(void);

/* Run it on what lies in its inputs, which are written anew before each run, and count that in
 * telemetry.
 *
 * label    the true class where it is known, else HT_NO_LABEL
 * Returns the index of the largest code of the first output. There must be a model. */
uint32_t ht_firmware_run(uint32_t label);

#endif

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
 * model, a multiple of 16), HT_WINDOW (frames that the board's receive buffer holds, 1 without). */
#ifndef HARDTACK_HT_FIRMWARE_H
#define HARDTACK_HT_FIRMWARE_H

#include "hardtack/ht_status.h"

/* Start the board and the model, and announce the device on the line. */
void ht_firmware_start(void);

/* Take what has come in on the line and answer it; returns at once when nothing has. */
void ht_firmware_serve(void);

#endif

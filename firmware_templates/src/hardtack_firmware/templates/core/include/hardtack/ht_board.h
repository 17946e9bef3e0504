/* What a port provides: these functions, two public keys, and a linker script. */
#ifndef HARDTACK_HT_BOARD_H
#define HARDTACK_HT_BOARD_H

#include <stddef.h>
#include <stdint.h>

#include "hardtack/ht_flash.h"

/* Clocks, UART, counters; called once, first. */
void ht_board_start(void);

/* Take at most `room` bytes that have come in; 0 when there are none. Does not wait. What came
 * while nobody asked is kept best by an interrupt: ports/shared/ht_receive.h. */
size_t ht_board_read(uint8_t *bytes, size_t room);

/* Send; waits until all is on its way. */
void ht_board_write(const uint8_t *bytes, size_t size);

/* The flash, with slots and journal; the struct stays. */
const ht_flash *ht_board_flash(void);

/* Microseconds, wrapping at 2^32. */
uint32_t ht_board_micros(void);

/* Most bytes of stack ever in use, and of stack there are; 0 and 0 when it is not measured. */
void ht_board_stack(uint32_t *used, uint32_t *size);

/* Serial number of the chip, zeros when it has none. */
void ht_board_id(uint8_t id[16]);

/* Reset the processor; does not return. */
void ht_board_reset(void);

/* Whom the device trusts; a key of zeros is nobody's. Generated from the developer's .pub files. */
extern const uint8_t ht_public_keys[2][32];

#endif

/* What an interrupt takes from a UART, for a port's ht_board_read: a whole frame waits while the
 * application computes. One writer, the interrupt; one reader. Included by one file of a port. */
#ifndef HARDTACK_HT_RECEIVE_H
#define HARDTACK_HT_RECEIVE_H

#include <stddef.h>
#include <stdint.h>

#include "hardtack/ht_frame.h"
#include "hardtack/ht_status.h"

#define HT_RECEIVE_ROOM 1024u /* a power of two */

HT_STATIC_ASSERT(a_frame_fits_with_its_delimiters, HT_FRAME_ROOM + 2 <= HT_RECEIVE_ROOM);

static struct {
    volatile uint32_t put; /* bytes ever, wrapping */
    volatile uint32_t taken;
    volatile uint8_t bytes[HT_RECEIVE_ROOM];
} received;

/* In the interrupt. What finds no room is lost; its frame is damaged, and the host resends. */
static void ht_receive_put(uint8_t byte) {
    const uint32_t put = received.put;
    if (put - received.taken < HT_RECEIVE_ROOM) {
        received.bytes[put % HT_RECEIVE_ROOM] = byte;
        received.put = put + 1;
    }
}

static size_t ht_receive_take(uint8_t *bytes, size_t room) {
    size_t count = 0;
    uint32_t taken = received.taken;
    while (count < room && taken != received.put) {
        bytes[count++] = received.bytes[taken % HT_RECEIVE_ROOM];
        received.taken = ++taken;
    }
    return count;
}

#endif

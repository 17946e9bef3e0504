/* Arm's MPS boards, as QEMU has them: CMSDK UART, the FPGA's counter, flash emulated in RAM.
 *
 * The build defines UART_AT, FPGAIO_AT, COUNTER_HZ (of the counter before its prescaler),
 * and HT_SLOT_SIZE; the linker script says where the slots are. */
#include "hardtack/ht_board.h"

#include <string.h>

#include "ht_nor.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define UART_DATA REGISTER(UART_AT)
#define UART_STATE REGISTER(UART_AT + 0x04u)
#define UART_CONTROL REGISTER(UART_AT + 0x08u)
#define UART_DIVIDER REGISTER(UART_AT + 0x10u)
#define COUNTER REGISTER(FPGAIO_AT + 0x18u)
#define PRESCALE REGISTER(FPGAIO_AT + 0x1Cu)
#define TX_FULL 1u
#define RX_FULL 2u

extern uint8_t _slots[];
static ht_flash flash;

void ht_board_start(void) {
    PRESCALE = COUNTER_HZ / 1000000u - 1;
    UART_DIVIDER = COUNTER_HZ / 115200u;
    UART_CONTROL = 3; /* send and receive */
    ht_nor_start(&flash, _slots, HT_SLOT_SIZE);
}

size_t ht_board_read(uint8_t *bytes, size_t room) {
    size_t count = 0;
    while (count < room && (UART_STATE & RX_FULL) != 0) {
        bytes[count++] = (uint8_t)UART_DATA;
    }
    return count;
}

void ht_board_write(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        while ((UART_STATE & TX_FULL) != 0) {
        }
        UART_DATA = bytes[i];
    }
}

const ht_flash *ht_board_flash(void) {
    return &flash;
}

uint32_t ht_board_micros(void) {
    return COUNTER;
}

void ht_board_id(uint8_t id[16]) {
    memset(id, 0, 16);
}

/* QEMU's RISC-V virt machine: start, faults, 16550 UART, CLINT timer, test device for the reset. */
#include "hardtack/ht_board.h"

#include <string.h>

#include "hardtack/ht_fault.h"
#include "ht_nor.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define UART(offset) (*(volatile uint8_t *)(uintptr_t)(0x10000000u + (offset)))
#define UART_STATUS UART(5)
#define RX_READY 0x01
#define TX_EMPTY 0x20
#define TIMER_LOW REGISTER(0x0200BFF8u)
#define TIMER_HIGH REGISTER(0x0200BFFCu)
#define TICKS_PER_US 10u
#define TEST REGISTER(0x00100000u)
#define TEST_RESET 0x7777u
#define STACK_PAINT 0x5A5A5A5Au

extern uint8_t _slots[];
extern uint32_t _stack_bottom[], _stack_top[];
extern uint32_t _data_start[], _data_end[], _bss_start[], _bss_end[];
extern const uint32_t _data_image[];
static ht_flash flash;

/* For the csr instructions, which GCC 12 has library variants neither with nor without. */
__asm(".option arch, +zicsr");

int main(void);
void ht_entry(void);
void ht_trap(void);
void ht_start(void);
void ht_trap_report(uint32_t return_address);

__attribute__((naked, section(".vectors"))) void ht_entry(void) {
    __asm volatile("la sp, _stack_top\n"
                   "la t0, ht_trap\n"
                   "csrw mtvec, t0\n"
                   "j ht_start\n");
}

__attribute__((naked, aligned(4))) void ht_trap(void) {
    __asm volatile("mv a0, ra\n"
                   "la sp, _stack_top\n"
                   "j ht_trap_report\n");
}

void ht_trap_report(uint32_t return_address) {
    uint32_t pc;
    uint32_t cause;
    uint32_t value;
    __asm volatile("csrr %0, mepc" : "=r"(pc));
    __asm volatile("csrr %0, mcause" : "=r"(cause));
    __asm volatile("csrr %0, mtval" : "=r"(value));
    ht_fault_record(pc, return_address, cause, value);
    ht_board_reset();
}

void ht_start(void) {
    const uint32_t *image = _data_image;
    for (uint32_t *to = _data_start; to < _data_end; to++) {
        *to = *image++;
    }
    for (uint32_t *to = _bss_start; to < _bss_end; to++) {
        *to = 0;
    }
    uint32_t *in_use;
    __asm volatile("mv %0, sp" : "=r"(in_use));
    /* volatile: a call of memset would have its own frame painted over */
    for (volatile uint32_t *to = _stack_bottom; to < in_use; to++) {
        *to = STACK_PAINT;
    }
    (void)main();
    ht_board_reset();
}

void ht_board_start(void) {
    ht_nor_start(&flash, _slots, HT_SLOT_SIZE);
}

size_t ht_board_read(uint8_t *bytes, size_t room) {
    size_t count = 0;
    while (count < room && (UART_STATUS & RX_READY) != 0) {
        bytes[count++] = UART(0);
    }
    return count;
}

void ht_board_write(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        while ((UART_STATUS & TX_EMPTY) == 0) {
        }
        UART(0) = bytes[i];
    }
}

const ht_flash *ht_board_flash(void) {
    return &flash;
}

uint32_t ht_board_micros(void) {
    uint32_t high;
    uint32_t low;
    do {
        high = TIMER_HIGH;
        low = TIMER_LOW;
    } while (high != TIMER_HIGH);
    return (uint32_t)(((uint64_t)high << 32 | low) / TICKS_PER_US);
}

void ht_board_stack(uint32_t *used, uint32_t *size) {
    const uint32_t *low = _stack_bottom;
    while (low < _stack_top && *low == STACK_PAINT) {
        low++;
    }
    *used = (uint32_t)((uintptr_t)_stack_top - (uintptr_t)low);
    *size = (uint32_t)((uintptr_t)_stack_top - (uintptr_t)_stack_bottom);
}

void ht_board_id(uint8_t id[16]) {
    memset(id, 0, 16);
}

void ht_board_reset(void) {
    TEST = TEST_RESET;
    for (;;) {
    }
}

/* Start and faults of a Cortex-M, from M0 to M55. */
#include <stdint.h>

#include "hardtack/ht_board.h"
#include "hardtack/ht_fault.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define CPACR REGISTER(0xE000ED88u)
#define AIRCR REGISTER(0xE000ED0Cu)
#define CFSR REGISTER(0xE000ED28u)
#define STACK_PAINT 0x5A5A5A5Au

/* From the linker script. */
extern uint32_t _stack_bottom[], _stack_top[];
extern uint32_t _data_start[], _data_end[], _bss_start[], _bss_end[];
extern const uint32_t _data_image[];

int main(void);
void ht_reset_handler(void);
void ht_fault_handler(void);
void ht_fault_report(const uint32_t *frame);

void ht_reset_handler(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    CPACR |= 0xFu << 20; /* the floating-point and vector unit is off at reset */
    __asm volatile("dsb\n isb" ::: "memory");
#endif
    const uint32_t *image = _data_image;
    for (uint32_t *to = _data_start; to < _data_end; to++) {
        *to = *image++;
    }
    for (uint32_t *to = _bss_start; to < _bss_end; to++) {
        *to = 0;
    }
    uint32_t *in_use;
    __asm volatile("mov %0, sp" : "=r"(in_use));
    /* volatile: a call of memset would have its own frame painted over */
    for (volatile uint32_t *to = _stack_bottom; to < in_use; to++) {
        *to = STACK_PAINT;
    }
    (void)main();
    ht_board_reset();
}

/* The frame that the processor pushed lies on the stack in use; the report goes on a fresh one, in
 * case that it overflowed. */
__attribute__((naked)) void ht_fault_handler(void) {
    __asm volatile("movs r0, #4\n"
                   "mov r1, lr\n"
                   "tst r0, r1\n"
                   "beq 1f\n"
                   "mrs r0, psp\n"
                   "b 2f\n"
                   "1: mrs r0, msp\n"
                   "2: ldr r1, =_stack_top\n"
                   "mov sp, r1\n"
                   "ldr r1, =ht_fault_report\n"
                   "bx r1\n");
}

void ht_fault_report(const uint32_t *frame) {
    uint32_t lr = 0;
    uint32_t pc = 0;
    uint32_t psr = 0;
    if (frame >= _stack_bottom && frame + 8 <= _stack_top) {
        lr = frame[5];
        pc = frame[6];
        psr = frame[7];
    }
#if defined(__ARM_ARCH_6M__)
    ht_fault_record(pc, lr, psr, 0);
#else
    ht_fault_record(pc, lr, psr, CFSR);
#endif
    ht_board_reset();
}

void ht_board_reset(void) {
    AIRCR = 0x05FA0004u;
    for (;;) {
    }
}

void ht_board_stack(uint32_t *used, uint32_t *size) {
    const uint32_t *low = _stack_bottom;
    while (low < _stack_top && *low == STACK_PAINT) {
        low++;
    }
    *used = (uint32_t)((uintptr_t)_stack_top - (uintptr_t)low);
    *size = (uint32_t)((uintptr_t)_stack_top - (uintptr_t)_stack_bottom);
}

typedef void (*vector)(void);

#ifdef HT_UART_IRQ
void ht_uart_handler(void);
#define VECTORS (16 + HT_UART_IRQ + 1)
#else
#define VECTORS 16
#endif

/* Initial stack, reset, then the exceptions; the only interrupt ever enabled is a port's
 * HT_UART_IRQ. */
__attribute__((section(".vectors"), used))
const vector ht_vectors[VECTORS] = {(vector)(uintptr_t)_stack_top,
                                    ht_reset_handler,
                                    ht_fault_handler,
                                    ht_fault_handler,
                                    ht_fault_handler,
                                    ht_fault_handler,
                                    ht_fault_handler,
                                    0,
                                    0,
                                    0,
                                    0,
                                    ht_fault_handler,
                                    ht_fault_handler,
                                    0,
                                    ht_fault_handler,
                                    ht_fault_handler,
#ifdef HT_UART_IRQ
                                    [16 + HT_UART_IRQ] = ht_uart_handler
#endif
};

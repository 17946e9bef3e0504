/* The second-stage boot loader: the boot ROM copies the first 256 bytes of flash to RAM and calls
 * them, with LR zero. They set up the flash to be read in place, by the read command 03h that
 * every serial flash knows, at half the processor's clock divided by 2 (31 MHz at 125), then start
 * the image behind them. Called with another LR, after flash was written, they return. */
#include <stdint.h>

void ht_boot2(void);

/* SSI registers at 0x18000000: SSIENR 0x08, BAUDR 0x14, CTRLR0 0x00, CTRLR1 0x04,
 * SPI_CTRLR0 0xF4 (r1: 8-bit command, 24-bit address, one data line, command 03h). */
__attribute__((naked, used, section(".boot2"))) void ht_boot2(void) {
    __asm volatile(".syntax unified\n"
                   "push {lr}\n"
                   "ldr r0, =0x18000000\n"
                   "movs r1, #0\n"
                   "str r1, [r0, #0x08]\n"
                   "movs r1, #4\n"
                   "str r1, [r0, #0x14]\n"
                   "ldr r1, =0x001F0300\n" /* 32-bit frames, send a command and read */
                   "str r1, [r0, #0x00]\n"
                   "movs r1, #0\n"
                   "str r1, [r0, #0x04]\n"
                   "ldr r1, =0x03000218\n"
                   "ldr r2, =0x180000F4\n"
                   "str r1, [r2]\n"
                   "movs r1, #1\n"
                   "str r1, [r0, #0x08]\n"
                   "pop {r0}\n"
                   "cmp r0, #0\n"
                   "beq 1f\n"
                   "bx r0\n"
                   "1: ldr r0, =0x10000100\n" /* the vector table */
                   "ldr r1, =0xE000ED08\n"
                   "str r0, [r1]\n"
                   "ldmia r0!, {r1, r2}\n"
                   "msr msp, r1\n"
                   "bx r2\n"
                   ".ltorg\n");
}

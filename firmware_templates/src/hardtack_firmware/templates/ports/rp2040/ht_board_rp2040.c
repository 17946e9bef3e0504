/* RP2040: clocks, UART0, TIMER, and its flash by the functions of the boot ROM. */
#include "hardtack/ht_board.h"
#include "hardtack/ht_status.h"

#include <string.h>

#include "ht_receive.h"

void ht_uart_handler(void);

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define CLEAR_BITS 0x3000u /* alias of a register: what is written as 1 becomes 0 */

#define RESETS 0x4000C000u
#define RESETS_DONE REGISTER(RESETS + 8u)
#define XOSC_CTRL REGISTER(0x40024000u)
#define XOSC_STATUS REGISTER(0x40024004u)
#define XOSC_STARTUP REGISTER(0x4002400Cu)
#define CLK_REF_CTRL REGISTER(0x40008030u)
#define CLK_REF_SELECTED REGISTER(0x40008038u)
#define CLK_SYS_CTRL REGISTER(0x4000803Cu)
#define CLK_SYS_SELECTED REGISTER(0x40008044u)
#define CLK_PERI_CTRL REGISTER(0x40008048u)
#define PLL_CS REGISTER(0x40028000u)
#define PLL_POWER 0x40028004u
#define PLL_FEEDBACK REGISTER(0x40028008u)
#define PLL_POSTDIV REGISTER(0x4002800Cu)
#define WATCHDOG_TICK REGISTER(0x4005802Cu)
#define TIMER_LOW REGISTER(0x40054028u)
#define UART_DATA REGISTER(0x40034000u)
#define UART_FLAGS REGISTER(0x40034018u)
#define UART_BAUD REGISTER(0x40034024u)
#define UART_BAUD_FRACTION REGISTER(0x40034028u)
#define UART_LINE REGISTER(0x4003402Cu)
#define UART_CONTROL REGISTER(0x40034030u)
#define UART_INTERRUPTS REGISTER(0x40034038u)
#define NVIC_ENABLE REGISTER(0xE000E100u)
#define GPIO0_CONTROL REGISTER(0x40014004u)
#define GPIO1_CONTROL REGISTER(0x4001400Cu)

#define NEEDED (1u << 5 | 1u << 8 | 1u << 12 | 1u << 21 | 1u << 22) /* pins, PLL, timer, UART */
#define RX_EMPTY (1u << 4)
#define TX_FULL (1u << 5)
#define UART_FUNCTION 2u

#define FLASH_AT 0x10000000u
#define SECTOR 4096u

HT_STATIC_ASSERT(UNPACKED_SIZE_is_a_multiple_of_the_erase_unit, HT_UNPACKED_SIZE % SECTOR == 0);
#define PAGE 256u
#define WRITE_UNIT 32u
#define BOOT2_WORDS 64u
#define ERASE_BLOCK 65536u
#define ERASE_BLOCK_COMMAND 0xD8u

typedef void *(*rom_lookup)(const uint16_t *table, uint32_t code);
typedef void (*rom_call)(void);
typedef void (*rom_erase)(uint32_t at, size_t size, uint32_t block, uint8_t command);
typedef void (*rom_program)(uint32_t at, const uint8_t *bytes, size_t size);

extern uint8_t _slots[]; /* from the linker script */

/* All that is needed while the flash cannot be read, in RAM. */
static struct {
    rom_call connect, leave_xip, flush;
    rom_erase erase;
    rom_program program;
    uint32_t boot2[BOOT2_WORDS]; /* makes it readable again */
} rom;

static uint32_t rom_half_word(uint32_t at) {
    __asm volatile("" : "+r"(at)); /* GCC takes small constants for null pointers */
    return *(const volatile uint16_t *)(uintptr_t)at;
}

static void *rom_function(char a, char b) {
    const rom_lookup lookup = (rom_lookup)(uintptr_t)rom_half_word(0x18);
    return lookup((const uint16_t *)(uintptr_t)rom_half_word(0x14), (uint32_t)b << 8 | (uint8_t)a);
}

static void find_rom_functions(void) {
    rom.connect = (rom_call)(uintptr_t)rom_function('I', 'F');
    rom.leave_xip = (rom_call)(uintptr_t)rom_function('E', 'X');
    rom.flush = (rom_call)(uintptr_t)rom_function('F', 'C');
    rom.erase = (rom_erase)(uintptr_t)rom_function('R', 'E');
    rom.program = (rom_program)(uintptr_t)rom_function('R', 'P');
    memcpy(rom.boot2, (const void *)(uintptr_t)FLASH_AT, sizeof rom.boot2);
}

/* Erase a sector when `bytes` is NULL, else program a page. In RAM, and calling nothing but RAM
 * and ROM: there is no flash to run from meanwhile. */
__attribute__((noinline, section(".ramfunc"))) static void change_flash(uint32_t at,
                                                                        const uint8_t *bytes) {
    uint32_t masked;
    __asm volatile("mrs %0, primask\n cpsid i" : "=r"(masked)::"memory");
    rom.connect();
    rom.leave_xip();
    if (bytes == NULL) {
        rom.erase(at, SECTOR, ERASE_BLOCK, ERASE_BLOCK_COMMAND);
    } else {
        rom.program(at, bytes, PAGE);
    }
    rom.flush();
    ((rom_call)((uintptr_t)rom.boot2 | 1u))();
    __asm volatile("msr primask, %0" ::"r"(masked) : "memory");
}

static uint32_t in_flash(uint32_t at) {
    return (uint32_t)(uintptr_t)_slots - FLASH_AT + at;
}

static int flash_erase(void *context, uint32_t at, uint32_t size) {
    (void)context;
    (void)size; /* chunks and journal units are single sectors */
    change_flash(in_flash(at), NULL);
    return 0;
}

/* The ROM programs pages; what is left at 0xFF in one stays as it is. */
static int flash_program(void *context, uint32_t at, const uint8_t *bytes, uint32_t size) {
    static uint8_t page[PAGE];
    (void)context;
    memset(page, 0xFF, sizeof page);
    memcpy(page + in_flash(at) % PAGE, bytes, size); /* write units do not cross pages */
    change_flash(in_flash(at) / PAGE * PAGE, page);
    return 0;
}

static const ht_flash flash = {.base = _slots,
                               .slot_at = {0, HT_SLOT_SIZE},
                               .slot_size = HT_SLOT_SIZE,
                               .chunk_size = SECTOR,
                               .journal_at = 2 * HT_SLOT_SIZE,
                               .journal_unit = SECTOR,
                               .unpacked_at = 2 * HT_SLOT_SIZE + 2 * SECTOR,
                               .unpacked_size = HT_UNPACKED_SIZE,
                               .unpacked_unit = SECTOR,
                               .write_unit = WRITE_UNIT,
                               .erase = flash_erase,
                               .program = flash_program,
                               .context = NULL};

/* The processor at 125 MHz by the PLL, UART and timer by the crystal of 12 MHz. */
static void start_clocks(void) {
    XOSC_STARTUP = 47; /* 1 ms */
    XOSC_CTRL = 0xFABu << 12 | 0xAA0u;
    while ((XOSC_STATUS >> 31) == 0) {
    }
    CLK_REF_CTRL = 2;
    while ((CLK_REF_SELECTED & 1u << 2) == 0) {
    }
    CLK_SYS_CTRL &= ~1u; /* off the PLL, in case it ran before the reset */
    while ((CLK_SYS_SELECTED & 1u << 0) == 0) {
    }
    PLL_CS = 1;
    PLL_FEEDBACK = 125; /* 1500 MHz / 6 / 2 */
    REGISTER(PLL_POWER + CLEAR_BITS) = 1u << 0 | 1u << 5;
    while ((PLL_CS >> 31) == 0) {
    }
    PLL_POSTDIV = 6u << 16 | 2u << 12;
    REGISTER(PLL_POWER + CLEAR_BITS) = 1u << 3;
    CLK_SYS_CTRL = 1;
    while ((CLK_SYS_SELECTED & 1u << 1) == 0) {
    }
    CLK_PERI_CTRL = 1u << 11 | 4u << 5;
    WATCHDOG_TICK = 1u << 9 | 12u; /* the timer's microsecond */
}

void ht_board_start(void) {
    REGISTER(RESETS + CLEAR_BITS) = NEEDED;
    while ((RESETS_DONE & NEEDED) != NEEDED) {
    }
    start_clocks();
    GPIO0_CONTROL = UART_FUNCTION;
    GPIO1_CONTROL = UART_FUNCTION;
    UART_BAUD = 6; /* 12 MHz / 16 / 115200 = 6 + 33/64 */
    UART_BAUD_FRACTION = 33;
    UART_LINE = 3u << 5 | 1u << 4;         /* 8 bits, with FIFO */
    UART_INTERRUPTS = 1u << 4 | 1u << 6;   /* FIFO half full; some in it for 32 bits' time */
    UART_CONTROL = 1u | 1u << 8 | 1u << 9; /* on, send, receive */
    NVIC_ENABLE = 1u << HT_UART_IRQ;
    find_rom_functions();
}

/* Emptying the FIFO clears both interrupts. */
void ht_uart_handler(void) {
    while ((UART_FLAGS & RX_EMPTY) == 0) {
        ht_receive_put((uint8_t)UART_DATA);
    }
}

size_t ht_board_read(uint8_t *bytes, size_t room) {
    return ht_receive_take(bytes, room);
}

void ht_board_write(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        while ((UART_FLAGS & TX_FULL) != 0) {
        }
        UART_DATA = bytes[i];
    }
}

const ht_flash *ht_board_flash(void) {
    return &flash;
}

uint32_t ht_board_micros(void) {
    return TIMER_LOW;
}

void ht_board_id(uint8_t id[16]) {
    memset(id, 0, 16); /* the chip has no number; its flash has one, which is not read */
}

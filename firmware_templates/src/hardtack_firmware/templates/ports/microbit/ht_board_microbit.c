/* nRF51822: UART0, TIMER0, and its flash controller (NVMC). */
#include "hardtack/ht_board.h"

#include <string.h>

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define UART_START_RX REGISTER(0x40002000u)
#define UART_START_TX REGISTER(0x40002008u)
#define UART_RX_READY REGISTER(0x40002108u)
#define UART_TX_READY REGISTER(0x4000211Cu)
#define UART_ENABLE REGISTER(0x40002500u)
#define UART_PIN_TX REGISTER(0x4000250Cu)
#define UART_PIN_RX REGISTER(0x40002514u)
#define UART_RX REGISTER(0x40002518u)
#define UART_TX REGISTER(0x4000251Cu)
#define UART_BAUD REGISTER(0x40002524u)
#define TIMER_START REGISTER(0x40008000u)
#define TIMER_CAPTURE REGISTER(0x40008040u)
#define TIMER_BITS REGISTER(0x40008508u)
#define TIMER_PRESCALER REGISTER(0x40008510u)
#define TIMER_CAPTURED REGISTER(0x40008540u)
#define NVMC_READY REGISTER(0x4001E400u)
#define NVMC_CONFIG REGISTER(0x4001E504u)
#define NVMC_ERASE_PAGE REGISTER(0x4001E508u)
#define FACTORY_ID_0 REGISTER(0x10000060u)
#define FACTORY_ID_1 REGISTER(0x10000064u)

#define PIN_TX 24
#define PIN_RX 25
#define BAUD_115200 0x01D7E000u
#define PAGE 1024u

enum { NVMC_READ = 0, NVMC_WRITE = 1, NVMC_ERASE = 2 };

extern const uint8_t _slots[]; /* from the linker script */

static void wait_for_flash(void) {
    while ((NVMC_READY & 1) == 0) {
    }
}

static int nvmc_erase(void *context, uint32_t at, uint32_t size) {
    (void)context;
    (void)size; /* chunks and journal units are single pages */
    NVMC_CONFIG = NVMC_ERASE;
    wait_for_flash();
    NVMC_ERASE_PAGE = (uint32_t)(uintptr_t)_slots + at;
    wait_for_flash();
    NVMC_CONFIG = NVMC_READ;
    return 0;
}

static int nvmc_program(void *context, uint32_t at, const uint8_t *bytes, uint32_t size) {
    (void)context;
    NVMC_CONFIG = NVMC_WRITE;
    for (uint32_t i = 0; i < size; i += 4) {
        uint32_t word;
        memcpy(&word, bytes + i, sizeof word);
        wait_for_flash();
        REGISTER((uintptr_t)_slots + at + i) = word;
    }
    wait_for_flash();
    NVMC_CONFIG = NVMC_READ;
    return 0;
}

static const ht_flash flash = {.base = _slots,
                               .slot_at = {0, HT_SLOT_SIZE},
                               .slot_size = HT_SLOT_SIZE,
                               .chunk_size = PAGE,
                               .journal_at = 2 * HT_SLOT_SIZE,
                               .journal_unit = PAGE,
                               .write_unit = 4,
                               .erase = nvmc_erase,
                               .program = nvmc_program,
                               .context = NULL};

void ht_board_start(void) {
    UART_PIN_TX = PIN_TX;
    UART_PIN_RX = PIN_RX;
    UART_BAUD = BAUD_115200;
    UART_ENABLE = 4;
    UART_START_RX = 1;
    UART_START_TX = 1;
    TIMER_BITS = 3;      /* 32 */
    TIMER_PRESCALER = 4; /* 16 MHz / 2^4 */
    TIMER_START = 1;
}

size_t ht_board_read(uint8_t *bytes, size_t room) {
    size_t count = 0;
    while (count < room && UART_RX_READY != 0) {
        UART_RX_READY = 0;
        bytes[count++] = (uint8_t)UART_RX;
    }
    return count;
}

void ht_board_write(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        UART_TX_READY = 0;
        UART_TX = bytes[i];
        while (UART_TX_READY == 0) {
        }
    }
}

const ht_flash *ht_board_flash(void) {
    return &flash;
}

uint32_t ht_board_micros(void) {
    TIMER_CAPTURE = 1;
    return TIMER_CAPTURED;
}

void ht_board_id(uint8_t id[16]) {
    const uint32_t words[2] = {FACTORY_ID_0, FACTORY_ID_1};
    memset(id, 0, 16);
    memcpy(id, words, sizeof words);
}

/* STM32F405/407 (reference manual RM0090): USART1, TIM2, the flash controller. */
#include "hardtack/ht_board.h"
#include "hardtack/ht_status.h"

#include <string.h>

#include "ht_receive.h"

void ht_uart_handler(void);

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define RCC_CR REGISTER(0x40023800u)
#define RCC_PLLCFGR REGISTER(0x40023804u)
#define RCC_CFGR REGISTER(0x40023808u)
#define RCC_AHB1ENR REGISTER(0x40023830u)
#define RCC_APB1ENR REGISTER(0x40023840u)
#define RCC_APB2ENR REGISTER(0x40023844u)
#define FLASH_ACR REGISTER(0x40023C00u)
#define FLASH_KEYR REGISTER(0x40023C04u)
#define FLASH_SR REGISTER(0x40023C0Cu)
#define FLASH_CR REGISTER(0x40023C10u)
#define GPIOA_MODER REGISTER(0x40020000u)
#define GPIOA_AFRH REGISTER(0x40020024u)
#define USART_SR REGISTER(0x40011000u)
#define USART_DR REGISTER(0x40011004u)
#define USART_BRR REGISTER(0x40011008u)
#define USART_CR1 REGISTER(0x4001100Cu)
#define TIM2_CR1 REGISTER(0x40000000u)
#define TIM2_EGR REGISTER(0x40000014u)
#define TIM2_CNT REGISTER(0x40000024u)
#define TIM2_PSC REGISTER(0x40000028u)
#define TIM2_ARR REGISTER(0x4000002Cu)
#ifndef HT_CHIP_ID_AT
#define HT_CHIP_ID_AT 0x1FFF7A10u /* 96 bits */
#endif

#define PLL_ON (1u << 24)
#define PLL_READY (1u << 25)
#define PLL_WAIT 100000u /* reads; it locks within 300 us */
#define USES_PLL (2u << 2)
#define NVIC_ENABLE REGISTER(0xE000E100u + HT_UART_IRQ / 32 * 4)
#define RX_OVERRUN (1u << 3)
#define RX_READY (1u << 5)
#define TX_EMPTY (1u << 7)
#define BAUD 115200u

#define FLASH_AT 0x08000000u
#define JOURNAL_AT 0x4000u
#define JOURNAL_UNIT 0x4000u
#define SLOTS_OFFSET 0x40000u
#define UNPACKED_OFFSET 0x20000u
#define SECTOR 0x20000u
#define BUSY (1u << 16)
#define ERRORS 0x1F2u
#define PROGRAM (1u << 0)
#define ERASE_SECTOR (1u << 1)
#define BY_WORDS (2u << 8) /* 2.7 V to 3.6 V */
#define START (1u << 16)
#define LOCK (1u << 31)
#define DATA_CACHE (1u << 10)
#define RESET_DATA_CACHE (1u << 12)

HT_STATIC_ASSERT(UNPACKED_SIZE_is_0_or_one_sector,
                 HT_UNPACKED_SIZE == 0 || HT_UNPACKED_SIZE == SECTOR);

/* 168 MHz from the internal oscillator, with APB1 at 42 and APB2 at 84 MHz; it stays at 16 MHz
 * where there is no PLL (QEMU). Returns the clock of USART1 and TIM2. */
static uint32_t start_clock(void) {
    FLASH_ACR = 5u | 1u << 8 | 1u << 9 | DATA_CACHE; /* wait states; prefetch and caches */
    RCC_PLLCFGR = 16u | 336u << 6 | 7u << 24;        /* 16 MHz / 16 * 336 / 2 */
    RCC_CR |= PLL_ON;
    for (uint32_t i = 0; i < PLL_WAIT; i++) {
        if ((RCC_CR & PLL_READY) != 0) {
            RCC_CFGR = 5u << 10 | 4u << 13 | 2u;
            while ((RCC_CFGR & (3u << 2)) != USES_PLL) {
            }
            return 84000000u;
        }
    }
    return 16000000u;
}

/* Sector of an offset in flash. */
static uint32_t sector_of(uint32_t at) {
    if (at < 0x10000u) {
        return at / 0x4000u;
    }
    return 4 + at / SECTOR;
}

static void unlock(void) {
    if ((FLASH_CR & LOCK) != 0) {
        FLASH_KEYR = 0x45670123u;
        FLASH_KEYR = 0xCDEF89ABu;
    }
    FLASH_SR = ERRORS; /* of an operation before; written as 1 they clear */
}

/* Wait, lock, and forget what the cache holds of before. Code runs from the same flash: the
 * processor stands still while it is busy. */
static int finish(void) {
    while ((FLASH_SR & BUSY) != 0) {
    }
    const uint32_t errors = FLASH_SR & ERRORS;
    FLASH_CR = LOCK;
    FLASH_ACR &= ~DATA_CACHE;
    FLASH_ACR |= RESET_DATA_CACHE;
    FLASH_ACR &= ~RESET_DATA_CACHE;
    FLASH_ACR |= DATA_CACHE;
    return errors != 0;
}

static int flash_erase(void *context, uint32_t at, uint32_t size) {
    (void)context;
    (void)size; /* chunks and journal units are single sectors */
    unlock();
    FLASH_CR = ERASE_SECTOR | BY_WORDS | sector_of(at) << 3;
    FLASH_CR |= START;
    return finish();
}

static int flash_program(void *context, uint32_t at, const uint8_t *bytes, uint32_t size) {
    (void)context;
    unlock();
    FLASH_CR = PROGRAM | BY_WORDS;
    for (uint32_t i = 0; i < size; i += 4) {
        uint32_t word;
        memcpy(&word, bytes + i, sizeof word);
        REGISTER(FLASH_AT + at + i) = word;
        while ((FLASH_SR & BUSY) != 0) {
        }
    }
    return finish();
}

static const ht_flash flash = {.base = (const uint8_t *)(uintptr_t)FLASH_AT,
                               .slot_at = {SLOTS_OFFSET, SLOTS_OFFSET + HT_SLOT_SIZE},
                               .slot_size = HT_SLOT_SIZE,
                               .chunk_size = SECTOR,
                               .journal_at = JOURNAL_AT,
                               .journal_unit = JOURNAL_UNIT,
                               .unpacked_at = UNPACKED_OFFSET,
                               .unpacked_size = HT_UNPACKED_SIZE,
                               .unpacked_unit = SECTOR,
                               .write_unit = 4,
                               .erase = flash_erase,
                               .program = flash_program,
                               .context = NULL};

void ht_board_start(void) {
    const uint32_t clock = start_clock();
    RCC_AHB1ENR |= 1u << 0; /* GPIOA */
    RCC_APB1ENR |= 1u << 0; /* TIM2 */
    RCC_APB2ENR |= 1u << 4; /* USART1 */
    GPIOA_AFRH = (GPIOA_AFRH & ~0xFF0u) | 0x770u;
    GPIOA_MODER = (GPIOA_MODER & ~(0xFu << 18)) | 0xAu << 18;
    USART_BRR = (clock + BAUD / 2) / BAUD;
    USART_CR1 = 1u << 13 | 1u << 5 | 1u << 3 | 1u << 2; /* on, receive interrupt, send, receive */
    NVIC_ENABLE = 1u << HT_UART_IRQ % 32;
    TIM2_PSC = clock / 1000000u - 1;
    TIM2_ARR = UINT32_MAX;
    TIM2_EGR = 1; /* take the prescaler */
    TIM2_CR1 = 1;
}

/* Reading the state, then the data, clears both bits. */
void ht_uart_handler(void) {
    const uint32_t state = USART_SR;
    if ((state & (RX_READY | RX_OVERRUN)) != 0) {
        const uint8_t byte = (uint8_t)USART_DR;
        if ((state & RX_READY) != 0) {
            ht_receive_put(byte);
        }
    }
}

size_t ht_board_read(uint8_t *bytes, size_t room) {
    return ht_receive_take(bytes, room);
}

void ht_board_write(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        while ((USART_SR & TX_EMPTY) == 0) {
        }
        USART_DR = bytes[i];
    }
}

const ht_flash *ht_board_flash(void) {
    return &flash;
}

uint32_t ht_board_micros(void) {
    return TIM2_CNT;
}

void ht_board_id(uint8_t id[16]) {
    memset(id, 0, 16);
    for (uint32_t i = 0; i < 12; i += 4) {
        const uint32_t word = REGISTER(HT_CHIP_ID_AT + i);
        memcpy(id + i, &word, sizeof word);
    }
}

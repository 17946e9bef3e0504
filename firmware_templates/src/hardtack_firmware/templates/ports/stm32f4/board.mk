# STM32F405 and F407: Cortex-M4F, 1 MB of flash in sectors of 16, 64 and 128 KB, 128 KB of RAM.
# USART1 on PA9 (out) and PA10 (in). Sector 0: vectors; 1, 2: journal; 3, 4: code; 5: unpacked
# weights; 6 to 11: slots. A firmware of more than 80 KB takes sector 5, too: `CODE_SIZE` is 0x34000
# then, and `UNPACKED_SIZE` 0.
TITLE := STM32F405, STM32F407
PROCESSOR := Cortex-M4F
TESTED := emulator
ZIG_TARGET := -target thumb-freestanding-eabihf -mcpu=cortex_m4+vfp4d16sp
UPLOAD := pyocd
PYOCD_TARGET := stm32f405rg
HARDWARE := cortex-m4
POOL_SIZE_DEFAULT := 98304
WINDOW := 1
CPU := -mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16
PORT_SOURCES := ports/stm32f4/ht_board_stm32f4.c ports/shared/cortex_m.c
DEFINES := -DHT_UART_IRQ=37
HEAD_AT := 0x08000000
HEAD_SIZE := 0x4000
MEMORY_MAP_MORE = -DHEAD_AT=$(HEAD_AT) -DHEAD_SIZE=$(HEAD_SIZE) -DHEAD_SECTION=.vectors
CODE_AT := 0x0800C000
CODE_SIZE ?= 0x14000
RAM_AT := 0x20000000
RAM_SIZE := 128K
STACK_SIZE := 6K
SLOT_SIZE := 0x60000
SLOTS_AT := 0x08040000
SLOTS_SIZE := 0xC0000
JOURNAL_AT := 0x08004000
JOURNAL_SIZE := 0x8000
UNPACKED_AT := 0x08020000
UNPACKED_SIZE ?= 0x20000
include ports/shared/cortex_m.mk

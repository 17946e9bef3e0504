# BBC micro:bit: nRF51822, Cortex-M0, 256 KB of flash that erases in pages of 1 KB, 16 KB of RAM.
TITLE := BBC micro:bit, nRF51822
PROCESSOR := Cortex-M0
TESTED := QEMU
ZIG_TARGET := -target thumb-freestanding-eabi -mcpu=cortex_m0
UPLOAD := pyocd
PYOCD_TARGET := nrf51
HARDWARE := cortex-m0
POOL_SIZE_DEFAULT := 8192
WINDOW := 1
CPU := -mcpu=cortex-m0
PORT_SOURCES := ports/microbit/ht_board_microbit.c ports/shared/cortex_m.c
DEFINES := -DHT_MAX_BODY=560u
CODE_AT := 0x00000000
CODE_SIZE := 0x12000
RAM_AT := 0x20000000
RAM_SIZE := 16K
STACK_SIZE := 5K
SLOT_SIZE := 0x16400
SLOTS_AT := 0x12000
SLOTS_SIZE := 0x2D000
include ports/shared/cortex_m.mk

# Arm MPS2 with AN385: Cortex-M3. The slots lie in PSRAM, which QEMU can keep in a file.
TITLE := Arm MPS2 with AN385
PROCESSOR := Cortex-M3
TESTED := QEMU
ZIG_TARGET := -target thumb-freestanding-eabi -mcpu=cortex_m3
HARDWARE := cortex-m3
POOL_SIZE_DEFAULT := 1048576
WINDOW := 1
CPU := -mcpu=cortex-m3
PORT_SOURCES := ports/shared/mps.c ports/shared/ht_nor.c ports/shared/cortex_m.c
DEFINES := -DUART_AT=0x40004000u -DFPGAIO_AT=0x40028000u -DCOUNTER_HZ=25000000u
CODE_AT := 0x00000000
CODE_SIZE := 4M
RAM_AT := 0x20000000
RAM_SIZE := 4M
STACK_SIZE := 6K
SLOT_SIZE := 0x100000
SLOTS_AT := 0x21000000
SLOTS_SIZE := 0x202000
UNPACKED_AT := 0x21202000
UNPACKED_SIZE ?= 0x100000
include ports/shared/cortex_m.mk

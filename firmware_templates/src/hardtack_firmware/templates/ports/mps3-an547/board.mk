# Arm MPS3 with AN547: Cortex-M55 with Helium. The slots lie in DDR, which QEMU can keep in a file.
TITLE := Arm MPS3 with AN547
PROCESSOR := Cortex-M55
TESTED := QEMU
ZIG_TARGET := -target thumb-freestanding-eabihf -mcpu=cortex_m55+mve_fp+fp_armv8d16
HARDWARE := cortex-m55
POOL_SIZE_DEFAULT := 393216
WINDOW := 1
CPU := -mcpu=cortex-m55 -mfloat-abi=hard
PORT_SOURCES := ports/shared/mps.c ports/shared/ht_nor.c ports/shared/cortex_m.c
DEFINES := -DUART_AT=0x59303000u -DFPGAIO_AT=0x59302000u -DCOUNTER_HZ=32000000u
CODE_AT := 0x00000000
CODE_SIZE := 512K
RAM_AT := 0x20000000
RAM_SIZE := 512K
STACK_SIZE := 6K
SLOT_SIZE := 0x100000
SLOTS_AT := 0x60000000
SLOTS_SIZE := 0x202000
UNPACKED_AT := 0x60202000
UNPACKED_SIZE ?= 0x100000
include ports/shared/cortex_m.mk

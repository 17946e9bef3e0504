# QEMU's virt machine as RV32IMAC. The slots lie in its RAM, which QEMU can keep in a file.
TITLE := QEMU's virt machine
PROCESSOR := RV32IMAC
TESTED := QEMU
ZIG_TARGET := -target riscv32-freestanding-none -mcpu=generic_rv32+m+a+c
CROSS ?= riscv64-unknown-elf-
HARDWARE := riscv32
POOL_SIZE_DEFAULT := 524288
WINDOW := 1
PORT_SOURCES := ports/riscv32-virt/ht_board_virt.c ports/shared/ht_nor.c
CODE_AT := 0x80000000
CODE_SIZE := 1M
RAM_AT := 0x80100000
RAM_SIZE := 1M
STACK_SIZE := 6K
SLOT_SIZE := 0x100000
SLOTS_AT := 0x81000000
SLOTS_SIZE := 0x202000
UNPACKED_AT := 0x81202000
UNPACKED_SIZE ?= 0x100000
ifeq ($(TOOLCHAIN),zig)
CFLAGS_BOARD := -Iports/freestanding -mcmodel=medium
LDFLAGS_BOARD := -Wl,--entry=ht_entry
else
CFLAGS_BOARD := -march=rv32imac -mabi=ilp32 -mcmodel=medany --specs=picolibc.specs
LDFLAGS_BOARD := -nostartfiles -Wl,-Map=$(OUT)/firmware.map
endif
CFLAGS_BOARD += -Os -g -DHT_BARE_METAL
LDFLAGS_BOARD += -T$(OUT)/linker.ld
ENTRY := ht_entry
include ports/shared/memory.mk

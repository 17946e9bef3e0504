# QEMU's virt machine as RV32IMAC. The slots lie in its RAM, which QEMU can keep in a file.
CROSS ?= riscv64-unknown-elf-
HARDWARE := riscv32
POOL_SIZE ?= 524288
WINDOW := 1
PORT_SOURCES := ports/riscv32-virt/ht_board_virt.c ports/shared/ht_nor.c
DEFINES := -DSLOT_SIZE=0x100000u
CODE_AT := 0x80000000
CODE_SIZE := 1M
RAM_AT := 0x80100000
RAM_SIZE := 1M
STACK_SIZE := 6K
SLOTS_AT := 0x81000000
SLOTS_SIZE := 0x202000
LINKER_INPUT := ports/shared/linker.ld.in
LINKER_SCRIPT := $(OUT)/linker.ld
CFLAGS_BOARD := -march=rv32imac -mabi=ilp32 -mcmodel=medany -Os -g -DHT_BARE_METAL -Iports/shared \
	--specs=picolibc.specs $(DEFINES)
LDFLAGS_BOARD := -nostartfiles -T$(OUT)/linker.ld
MEMORY_MAP := -DCODE_AT=$(CODE_AT) -DCODE_SIZE=$(CODE_SIZE) -DRAM_AT=$(RAM_AT) -DRAM_SIZE=$(RAM_SIZE) \
	-DSTACK_SIZE=$(STACK_SIZE) -DSLOTS_AT=$(SLOTS_AT) -DSLOTS_SIZE=$(SLOTS_SIZE) \
	-DENTRY_SYMBOL=ht_entry

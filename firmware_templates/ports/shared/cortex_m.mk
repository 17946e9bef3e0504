# Debian's gcc-arm-none-eabi with newlib; a board.mk sets CPU and the memory map before.
CROSS ?= arm-none-eabi-
LINKER_INPUT := ports/shared/linker.ld.in
CFLAGS_BOARD := $(CPU) -mthumb -Os -g -DHT_BARE_METAL -Iports/shared $(DEFINES)
LDFLAGS_BOARD := -nostartfiles --specs=nano.specs -T$(OUT)/linker.ld
LINKER_SCRIPT := $(OUT)/linker.ld
MEMORY_MAP := -DCODE_AT=$(CODE_AT) -DCODE_SIZE=$(CODE_SIZE) -DRAM_AT=$(RAM_AT) -DRAM_SIZE=$(RAM_SIZE) \
	-DSTACK_SIZE=$(STACK_SIZE) -DSLOTS_AT=$(SLOTS_AT) -DSLOTS_SIZE=$(SLOTS_SIZE) \
	-DENTRY_SYMBOL=ht_reset_handler

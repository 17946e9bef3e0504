# Debian's gcc-arm-none-eabi with newlib, or zig, which needs no C library; a board.mk sets
# CPU, ZIG_TARGET and the memory map before.
CROSS ?= arm-none-eabi-
ifeq ($(TOOLCHAIN),zig)
CFLAGS_BOARD := -Iports/freestanding
LDFLAGS_BOARD := -Wl,--entry=ht_reset_handler
else
CFLAGS_BOARD := $(CPU) -mthumb
LDFLAGS_BOARD := -nostartfiles --specs=nano.specs -Wl,-Map=$(OUT)/firmware.map
endif
CFLAGS_BOARD += -Os -g -DHT_BARE_METAL $(DEFINES)
LDFLAGS_BOARD += -T$(OUT)/linker.ld
ENTRY := ht_reset_handler
include ports/shared/memory.mk

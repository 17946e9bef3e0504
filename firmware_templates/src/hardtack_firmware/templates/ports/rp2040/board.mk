# RP2040 (Raspberry Pi Pico): Cortex-M0+, 2 MB of QSPI flash that erases in sectors of 4 KB, 264 KB
# of RAM. UART0 on GP0 (out) and GP1 (in). The first 256 bytes of flash are the second-stage boot
# loader, whose CRC the boot ROM checks: ports/rp2040/boot2_crc.c, run on the host, puts it in.
TITLE := Raspberry Pi Pico, RP2040
PROCESSOR := Cortex-M0+
TESTED := emulator
ZIG_TARGET := -target thumb-freestanding-eabi -mcpu=cortex_m0plus
UPLOAD := picotool
UF2_FAMILY := RP2040
HARDWARE := cortex-m0
POOL_SIZE_DEFAULT := 196608
WINDOW := 1
CPU := -mcpu=cortex-m0plus
PORT_SOURCES := ports/rp2040/ht_board_rp2040.c ports/rp2040/ht_boot2.c ports/shared/cortex_m.c
DEFINES := -DHT_UART_IRQ=20
HEAD_AT := 0x10000000
HEAD_SIZE := 0x100
MEMORY_MAP_MORE = -DHEAD_AT=$(HEAD_AT) -DHEAD_SIZE=$(HEAD_SIZE) -DHEAD_SECTION=.boot2 \
	-DHEAD_FILL=$(HEAD_SIZE)
CODE_AT := 0x10000100
CODE_SIZE := 0x7FF00
RAM_AT := 0x20000000
RAM_SIZE := 256K
STACK_SIZE := 6K
SLOT_SIZE := 0xB0000
SLOTS_AT := 0x10080000
SLOTS_SIZE := 0x162000
UNPACKED_AT := 0x101E2000
UNPACKED_SIZE ?= 0x1E000
LINK_NEEDS = $(OUT)/boot2_crc
AFTER_LINK = $(OUT)/boot2_crc $@
include ports/shared/cortex_m.mk

$(OUT)/boot2_crc: ports/rp2040/boot2_crc.c | $(OUT)
	$(HOSTCC) -O1 $< -o $@

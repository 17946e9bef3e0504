# A device as a process: flash in a file, the line on a socket or on standard input and output.
TITLE := a process of this machine
PROCESSOR := the host's
TESTED := as a process, under sanitizers
CROSS :=
HARDWARE := posix
POOL_SIZE_DEFAULT := 2097152
SLOT_SIZE := 0x80000
WINDOW := 8
APP_FLAGS := -Dmain=ht_app_main -Wno-missing-prototypes
PORT_SOURCES := ports/posix/ht_posix_main.c ports/posix/ht_board_posix.c ports/shared/ht_nor.c
CFLAGS_BOARD := -O2 -g
LDFLAGS_BOARD :=

# A device as a process: flash in a file, the line on a socket or on standard input and output.
CROSS :=
HARDWARE := posix
POOL_SIZE ?= 2097152
WINDOW := 8
APP := ports/posix/main.c
PORT_SOURCES := ports/posix/ht_board_posix.c ports/shared/ht_nor.c
CFLAGS_BOARD := -O2 -g -Iports/shared
LDFLAGS_BOARD :=

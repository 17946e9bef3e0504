#define _DEFAULT_SOURCE /* MAP_SHARED, ftruncate, poll */

#include "hardtack/ht_board.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ht_board_posix.h"
#include "ht_nor.h"

#define FLASH_SIZE (2 * HT_SLOT_SIZE + 2 * 4096u + HT_UNPACKED_SIZE)
#define WAIT_MS 20 /* how long a read sleeps when nothing comes */

jmp_buf ht_posix_reset;
static ht_flash flash;
static int listener = -1; /* -1: standard input and output */
static int line_in = 0;
static int line_out = 1;
static uint8_t chip_id[16];

int ht_posix_open_flash(const char *path) {
    struct stat info;
    const int file = open(path, O_RDWR | O_CREAT, 0600);
    if (file < 0 || fstat(file, &info) != 0) {
        return 0;
    }
    const int is_new = info.st_size != (off_t)FLASH_SIZE;
    if (is_new && ftruncate(file, FLASH_SIZE) != 0) {
        return 0;
    }
    uint8_t *base = mmap(NULL, FLASH_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (base == MAP_FAILED) {
        return 0;
    }
    if (is_new) {
        memset(base, 0xFF, FLASH_SIZE);
    }
    ht_nor_start(&flash, base, HT_SLOT_SIZE);
    return 1;
}

int ht_posix_listen(int port) {
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    const int yes = 1;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
        return 0;
    }
    signal(SIGPIPE, SIG_IGN);
    line_in = line_out = -1;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return 1;
}

void ht_board_start(void) {
}

static void hang_up(void) {
    if (listener < 0) {
        exit(0);
    }
    close(line_in);
    line_in = line_out = -1;
}

static int is_ready(int file) {
    struct pollfd wait = {file, POLLIN, 0};
    return poll(&wait, 1, WAIT_MS) > 0;
}

size_t ht_board_read(uint8_t *bytes, size_t room) {
    if (line_in < 0) {
        if (is_ready(listener)) {
            const int yes = 1;
            line_in = line_out = accept(listener, NULL, NULL);
            setsockopt(line_in, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        }
        return 0;
    }
    if (!is_ready(line_in)) {
        return 0;
    }
    const ssize_t size = read(line_in, bytes, room);
    if (size <= 0) {
        hang_up();
        return 0;
    }
    return (size_t)size;
}

void ht_board_write(const uint8_t *bytes, size_t size) {
    static uint8_t held[4096]; /* a frame comes in many pieces */
    static size_t count;
    for (size_t i = 0; i < size; i++) {
        held[count++] = bytes[i];
        if ((bytes[i] == 0 && count > 1) || count == sizeof held) {
            if (line_out >= 0 && write(line_out, held, count) < 0) {
                hang_up();
            }
            count = 0;
        }
    }
}

const ht_flash *ht_board_flash(void) {
    return &flash;
}

uint32_t ht_board_micros(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u);
}

void ht_board_stack(uint32_t *used, uint32_t *size) {
    *used = 0;
    *size = 0;
}

void ht_posix_set_id(const char *id) {
    const size_t size = strlen(id);
    memcpy(chip_id, id, size < sizeof chip_id ? size : sizeof chip_id);
}

void ht_board_id(uint8_t id[16]) {
    memcpy(id, chip_id, sizeof chip_id);
}

void ht_board_reset(void) {
    longjmp(ht_posix_reset, 1);
}

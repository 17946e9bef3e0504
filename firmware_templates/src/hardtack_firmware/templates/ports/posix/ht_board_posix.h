/* What the posix board needs to be told before it starts. */
#ifndef HARDTACK_HT_BOARD_POSIX_H
#define HARDTACK_HT_BOARD_POSIX_H

#include <setjmp.h>

/* Where ht_board_reset goes. */
extern jmp_buf ht_posix_reset;

/* Map the flash file, made of 0xFF when it is new. Returns 0 on failure. */
int ht_posix_open_flash(const char *path);

/* Serve 127.0.0.1:port, one connection after the other; 0 takes a free port and prints it. */
int ht_posix_listen(int port);

/* The chip's id: up to 16 bytes of text; without it there is none. */
void ht_posix_set_id(const char *id);

#endif

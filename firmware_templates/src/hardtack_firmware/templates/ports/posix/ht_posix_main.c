/* hardtack-device FLASH [PORT [ID]]: a device as a process, on standard input and output, or
 * serving a TCP port of this machine (0: any; it is printed). ID is its chip's. */
#include <stdio.h>
#include <stdlib.h>

#include "ht_board_posix.h"

int ht_app_main(void); /* the application's main, by another name */

int main(int argc, char **argv) {
    char *end = "";
    const long port = argc >= 3 ? strtol(argv[2], &end, 10) : 0;
    if (argc < 2 || argc > 4 || *end != 0 || port < 0 || port > 65535) {
        fprintf(stderr, "usage: hardtack-device FLASH [PORT [ID]]\n");
        return 2;
    }
    if (!ht_posix_open_flash(argv[1])) {
        fprintf(stderr, "hardtack-device: %s: cannot be read and written\n", argv[1]);
        return 1;
    }
    if (argc >= 3 && !ht_posix_listen((int)port)) {
        fprintf(stderr, "hardtack-device: port %s: cannot be served\n", argv[2]);
        return 1;
    }
    if (argc == 4) {
        ht_posix_set_id(argv[3]);
    }
    (void)setjmp(ht_posix_reset);
    return ht_app_main();
}

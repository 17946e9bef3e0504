/* An application that computes for 50 ms between two looks at the line: 500 bytes and more of its
 * time. */
#include <stdint.h>

#include "hardtack/ht_board.h"
#include "hardtack/ht_firmware.h"

int main(void) {
    ht_firmware_start();
    for (;;) {
        ht_firmware_serve();
        const uint32_t start = ht_board_micros();
        while (ht_board_micros() - start < 50000) {
        }
    }
}

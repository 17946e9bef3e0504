/* An application that runs into a wall when it has served a while: for the test of fault records.
 */
#include <stdint.h>

#include "hardtack/ht_board.h"
#include "hardtack/ht_fault.h"
#include "hardtack/ht_firmware.h"

void ht_test_fault(void);

__attribute__((noinline)) void ht_test_fault(void) {
    ht_fault_watch(7);
    __builtin_trap();
}

int main(void) {
    ht_firmware_start();
    const uint32_t start = ht_board_micros();
    const int first = ht_fault_read(0)->id == 0;
    for (;;) {
        ht_firmware_serve();
        if (first && ht_board_micros() - start > 300000) {
            ht_test_fault();
        }
    }
}

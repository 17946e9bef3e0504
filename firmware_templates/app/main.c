/* The application: here it only serves the model. Yours may do its own work in the loop. */
#include "hardtack/ht_firmware.h"

int main(void) {
    ht_firmware_start();
    for (;;) {
        ht_firmware_serve();
    }
}

/* The application: it serves the model, and does its own work between two requests of a host. */
#include "hardtack/ht_firmware.h"

/* Your sensor: write one sample as the model takes it, code = zero + real / scale of the port, and
 * return 1; return 0 while there is none. */
static int read_sensor(const ht_port *input) {
    (void)input;
    return 0;
}

/* Your work with what the model found. */
static void act_on(uint32_t class_number) {
    (void)class_number;
}

static void predict(void) {
    ht_port input;
    const ht_model *model = ht_firmware_model();
    if (model != NULL && ht_input(model, 0, &input) == HT_OK && read_sensor(&input)) {
        act_on(ht_firmware_run(HT_NO_LABEL));
    }
}

int main(void) {
    ht_firmware_start();
    for (;;) {
        ht_firmware_serve();
        predict();
    }
}

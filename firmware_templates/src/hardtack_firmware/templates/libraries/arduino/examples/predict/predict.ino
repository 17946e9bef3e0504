// Runs the model of model.h on its golden inputs, then once a second on what read_sensor gives.
#include <hardtack.h>

#include "model.h"

static ht_model model;
static uint8_t arena[MODEL_ARENA_SIZE] __attribute__((aligned(16)));
static uint8_t weights[MODEL_UNPACKED_SIZE + 4] __attribute__((aligned(16)));
static bool ready;

static ht_status start_model() {
  ht_golden golden;
  ht_status status = ht_model_open(model_bundle, sizeof model_bundle, &model);
  if (status == HT_OK) {
    status = ht_model_set_arena(&model, arena, sizeof arena);
  }
  if (status == HT_OK) {
    status = ht_weights_unpack(&model, weights, sizeof weights);
  }
  if (status == HT_OK) {
    status = ht_golden_open(&model, &golden);
  }
  for (uint32_t i = 0; status == HT_OK && i < golden.count; i++) {
    status = ht_golden_replay(&model, &golden, i, NULL);
  }
  return status;
}

// Your sensor: codes as the model takes them, code = zero + real / scale.
static void read_sensor(const ht_port *input) {
  for (int32_t i = 0; i < input->elements; i++) {
    input->codes[i] = (int8_t)input->zero;
  }
}

void setup() {
  Serial.begin(115200);
  const ht_status status = start_model();
  ready = status == HT_OK;
  Serial.println(ht_status_text(status));
}

void loop() {
  if (ready) {
    ht_port input, output;
    ht_input(&model, 0, &input);
    read_sensor(&input);
    ht_run(&model);
    ht_output(&model, 0, &output);
    int32_t top = 0;
    for (int32_t i = 1; i < output.elements; i++) {
      if (ht_port_code(&output, i) > ht_port_code(&output, top)) {
        top = i;
      }
    }
    Serial.println((long)top);
  }
  delay(1000);
}

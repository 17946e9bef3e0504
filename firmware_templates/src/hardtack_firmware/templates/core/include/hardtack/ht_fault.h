/* What survives a reset: the fault that caused it, or that it was asked for. */
#ifndef HARDTACK_HT_FAULT_H
#define HARDTACK_HT_FAULT_H

#include <stdint.h>

#define HT_NO_OPERATOR UINT32_MAX

typedef enum ht_reset_cause {
    HT_RESET_POWER = 0, /* or unknown */
    HT_RESET_ASKED = 1,
    HT_RESET_FAULT = 2,
    HT_RESET_WATCHDOG = 3
} ht_reset_cause;

typedef struct ht_fault {
    uint32_t id; /* 0: there is none */
    uint32_t pc, lr;
    uint32_t psr;   /* Arm; mcause on RISC-V */
    uint32_t cause; /* CFSR on Arm; mtval on RISC-V */
    uint32_t op;    /* that ran, or HT_NO_OPERATOR */
    uint32_t count; /* faults since it was cleared; the record is that of the first */
} ht_fault;

/* At start: forget what a power-up left in memory. Returns why the device was reset. */
ht_reset_cause ht_fault_start(void);

/* Note the operator that runs, or HT_NO_OPERATOR. */
void ht_fault_watch(uint32_t op);

/* From a fault handler; the caller then resets. */
void ht_fault_record(uint32_t pc, uint32_t lr, uint32_t psr, uint32_t cause);

/* Before a reset that was asked for. */
void ht_fault_expect_reset(void);

/* The record; drop it when `clear` is its id. */
const ht_fault *ht_fault_read(uint32_t clear);

#endif

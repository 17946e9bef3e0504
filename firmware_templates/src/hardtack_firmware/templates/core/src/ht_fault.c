#include "hardtack/ht_fault.h"

#include <string.h>

#include "hardtack/ht_crc32.h"

#ifdef HT_BARE_METAL
#define NOINIT __attribute__((section(".noinit")))
#else
#define NOINIT
#endif

#define EXPECTED 0x52455354u /* "TSER" */

/* Not initialised at start, so it lives through a reset; the checksum tells it from the noise of
 * a power-up. */
static NOINIT struct {
    ht_fault fault;
    uint32_t op;
    uint32_t expected;
    uint32_t faulted;
    uint32_t crc; /* of the fault */
} kept;

static void seal(void) {
    kept.crc = ~ht_crc32(0, &kept.fault, sizeof kept.fault);
}

ht_reset_cause ht_fault_start(void) {
    ht_reset_cause cause = HT_RESET_POWER;
    if (kept.crc != ~ht_crc32(0, &kept.fault, sizeof kept.fault)) {
        memset(&kept, 0, sizeof kept);
        seal();
    } else if (kept.faulted == EXPECTED) {
        cause = HT_RESET_FAULT;
    } else if (kept.expected == EXPECTED) {
        cause = HT_RESET_ASKED;
    }
    kept.faulted = 0;
    kept.expected = 0;
    kept.op = HT_NO_OPERATOR;
    return cause;
}

void ht_fault_watch(uint32_t op) {
    kept.op = op;
}

void ht_fault_record(uint32_t pc, uint32_t lr, uint32_t psr, uint32_t cause) {
    kept.faulted = EXPECTED;
    if (kept.fault.id != 0) {
        kept.fault.count++;
    } else {
        kept.fault.pc = pc;
        kept.fault.lr = lr;
        kept.fault.psr = psr;
        kept.fault.cause = cause;
        kept.fault.op = kept.op;
        kept.fault.count = 1;
        kept.fault.id = ht_crc32(0, &kept.fault, sizeof kept.fault) | 1;
    }
    seal();
}

void ht_fault_expect_reset(void) {
    kept.expected = EXPECTED;
}

const ht_fault *ht_fault_read(uint32_t clear) {
    if (clear != 0 && clear == kept.fault.id) {
        memset(&kept.fault, 0, sizeof kept.fault);
        seal();
    }
    return &kept.fault;
}

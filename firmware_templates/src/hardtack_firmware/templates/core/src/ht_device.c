#include "hardtack/ht_device.h"

#include "ht_bytes.h"

const uint8_t *ht_device_slot(const ht_device *device, uint32_t slot) {
    return device->flash->base + device->flash->slot_at[slot];
}

/* ---- Verification */

static int compare_versions(const uint32_t a[3], const uint32_t b[3]) {
    for (int i = 0; i < 3; i++) {
        if (a[i] != b[i]) {
            return a[i] < b[i] ? -1 : 1;
        }
    }
    return 0;
}

static void read_version(const uint8_t *bundle, uint32_t version[3]) {
    for (uint32_t i = 0; i < 3; i++) {
        version[i] = get32(bundle + HT_AT_VERSION + 4 * i);
    }
}

/* Is there, by its header, what was confirmed in this slot? */
static int holds_confirmed(const ht_device *device, uint32_t slot) {
    const uint8_t *confirmed = device->journal.confirmed[slot];
    const uint8_t *bundle = ht_device_slot(device, slot);
    uint8_t id[32];
    ht_bundle_id(bundle, id);
    return !is_zero(confirmed, HT_CONFIRMED_BYTES) &&
           memcmp(confirmed, id, HT_CONFIRMED_BYTES) == 0 &&
           ht_header_is_plausible(bundle, device->flash->slot_size);
}

/* Rule 4: no way back, and a version has one set of bytes. */
static ht_reason check_version(const ht_device *device, const uint8_t *bundle) {
    uint32_t version[3];
    read_version(bundle, version);
    if (compare_versions(version, device->journal.floor) < 0) {
        return HT_REASON_VERSION;
    }
    const uint8_t active = device->journal.active;
    if (active == HT_NO_SLOT || !holds_confirmed(device, active)) {
        return HT_REASON_OK;
    }
    const uint8_t *other = ht_device_slot(device, active);
    const int same = memcmp(bundle + HT_AT_NAME, other + HT_AT_NAME, 32 + 12) == 0;
    const int equal = memcmp(bundle, other, HT_SIGNED_SIZE) == 0;
    return same && !equal ? HT_REASON_VERSION : HT_REASON_OK;
}

/* Rule 6: the runtime reads it, and there is memory for it. */
static ht_reason check_structure(const ht_device *device, const uint8_t *bundle, ht_model *model,
                                 uint32_t *detail) {
    ht_golden golden;
    ht_status status = ht_model_open(bundle, device->flash->slot_size, model);
    if (status == HT_OK) {
        status = ht_golden_open(model, &golden);
    }
    if (status == HT_ERR_NOT_LINKED) {
        *detail = model->failed_opcode;
        return HT_REASON_OPERATOR;
    }
    if (status != HT_OK) {
        *detail = (uint32_t)-status;
        return HT_REASON_STRUCTURE;
    }
    return ht_weights_choose(device->flash, model, device->pool_size, detail) != HT_WAY_NONE
               ? HT_REASON_OK
               : HT_REASON_MEMORY;
}

/* The same without keeping the model: the memory for it is taken only after the signature's. */
__attribute__((noinline)) static ht_reason
check_candidate(const ht_device *device, const uint8_t *bundle, uint32_t *detail) {
    ht_model model;
    return check_structure(device, bundle, &model, detail);
}

/* All of section 6.3; `fresh` applies rule 4. The model is opened unless it is NULL. */
static ht_reason verify(const ht_device *device, uint32_t slot, int fresh, ht_model *model,
                        uint32_t *detail) {
    const uint8_t *bundle = ht_device_slot(device, slot);
    *detail = 0;
    ht_reason reason = ht_verify_header(&device->trust, bundle, device->flash->slot_size);
    if (reason == HT_REASON_OK && fresh) {
        reason = check_version(device, bundle);
    }
    if (reason == HT_REASON_OK) {
        reason = ht_verify_digest(bundle);
    }
    if (reason != HT_REASON_OK) {
        return reason;
    }
    return model != NULL ? check_structure(device, bundle, model, detail)
                         : check_candidate(device, bundle, detail);
}

/* ---- Starting a model */

static void watch(const ht_device *device, uint32_t op) {
    if (device->watch != NULL) {
        device->watch(op);
    }
}

static ht_reason replay(ht_device *device, uint32_t *detail) {
    ht_golden golden;
    (void)ht_golden_open(&device->model, &golden); /* checked with the structure */
    golden.watch = device->watch;
    ht_reason reason = HT_REASON_OK;
    for (uint32_t i = 0; i < golden.count && reason == HT_REASON_OK; i++) {
        if (ht_golden_replay(&device->model, &golden, i, detail) != HT_OK) {
            reason = HT_REASON_DIVERGED;
        }
    }
    watch(device, UINT32_MAX);
    return reason;
}

/* Give the opened model its memory and see that it computes what it should. */
static ht_reason try_model(ht_device *device, uint32_t *detail) {
    const ht_flash *flash = device->flash;
    ht_way way = ht_weights_choose(flash, &device->model, device->pool_size, detail);
    const ht_reason reason =
        ht_weights_place(flash, &device->model, &way, device->pool, device->pool_size, detail);
    device->way = (uint8_t)way;
    return reason == HT_REASON_OK ? replay(device, detail) : reason;
}

static void set_running(ht_device *device, uint32_t slot, ht_reason reason, uint32_t detail) {
    device->running = (uint8_t)(reason == HT_REASON_OK ? slot : HT_NO_SLOT);
    device->why = (uint8_t)reason;
    device->detail = detail;
}

/* ---- Trials */

/* Append the state; what could not be recorded is not believed either. */
static ht_reason record(ht_device *device) {
    const ht_reason reason = ht_journal_append(device->flash, &device->journal);
    if (reason != HT_REASON_OK) {
        uint32_t newest_at;
        ht_journal_load(device->flash, &device->journal, &newest_at);
    }
    return reason;
}

static ht_reason give_up(ht_device *device, ht_reason reason, uint32_t detail) {
    ht_journal *journal = &device->journal;
    uint8_t id[32];
    ht_bundle_id(ht_device_slot(device, journal->trial), id);
    memcpy(journal->refused, id, sizeof journal->refused);
    journal->trial = HT_NO_SLOT;
    journal->attempts = 0;
    journal->outcome = (uint8_t)reason;
    journal->detail = detail;
    return record(device);
}

static ht_reason confirm(ht_device *device) {
    ht_journal *journal = &device->journal;
    uint32_t version[3];
    uint8_t id[32];
    const uint8_t slot = journal->trial;
    const uint8_t *bundle = ht_device_slot(device, slot);
    read_version(bundle, version);
    if (compare_versions(version, journal->floor) > 0) {
        memcpy(journal->floor, version, sizeof version);
    }
    ht_bundle_id(bundle, id);
    memcpy(journal->confirmed[slot], id, HT_CONFIRMED_BYTES);
    journal->active = slot;
    journal->trial = HT_NO_SLOT;
    journal->attempts = 0;
    journal->outcome = HT_REASON_OK;
    journal->detail = 0;
    return record(device);
}

/* Count the trial, try, and record how it ended. Returns 1 when the model runs. */
static int run_trial(ht_device *device) {
    ht_journal *journal = &device->journal;
    const uint8_t slot = journal->trial;
    uint32_t detail = 0;
    if (journal->attempts >= HT_ATTEMPTS) {
        (void)give_up(device, HT_REASON_GAVE_UP, 0);
        return 0;
    }
    journal->attempts++;
    ht_reason reason = record(device);
    if (reason != HT_REASON_OK) {
        return 0; /* an uncounted trial could be repeated for ever */
    }
    reason = verify(device, slot, 1, &device->model, &detail);
    if (reason == HT_REASON_OK) {
        reason = try_model(device, &detail);
    }
    if (reason != HT_REASON_OK) {
        (void)give_up(device, reason, detail);
        return 0;
    }
    if (confirm(device) != HT_REASON_OK) {
        return 0;
    }
    set_running(device, slot, HT_REASON_OK, 0);
    return 1;
}

static ht_reason put_on_trial(ht_device *device, uint32_t slot) {
    device->journal.trial = (uint8_t)slot;
    device->journal.attempts = 0;
    return record(device);
}

/* ---- Starting */

static ht_reason start_active(ht_device *device, uint32_t *detail) {
    const uint8_t slot = device->journal.active;
    const uint8_t *bundle = ht_device_slot(device, slot);
    if (!holds_confirmed(device, slot)) {
        return HT_REASON_HEADER;
    }
    ht_reason reason = ht_verify_digest(bundle);
    if (reason == HT_REASON_OK) {
        reason = check_structure(device, bundle, &device->model, detail);
    }
    return reason == HT_REASON_OK ? try_model(device, detail) : reason;
}

/* The active model is damaged: let the one before take its place, if it is still there. */
static int start_other(ht_device *device, ht_reason reason, uint32_t detail) {
    ht_journal *journal = &device->journal;
    const uint8_t other = (uint8_t)(1 - journal->active);
    uint32_t unused = 0;
    if (!holds_confirmed(device, other) ||
        verify(device, other, 0, &device->model, &unused) != HT_REASON_OK ||
        try_model(device, &unused) != HT_REASON_OK) {
        return 0;
    }
    journal->active = other;
    journal->outcome = (uint8_t)reason;
    journal->detail = detail;
    return record(device) == HT_REASON_OK;
}

/* What came with the firmware, when nothing was ever recorded. */
static int start_factory(ht_device *device) {
    uint32_t detail;
    for (uint32_t slot = 0; slot < 2; slot++) {
        if (verify(device, slot, 1, &device->model, &detail) == HT_REASON_OK) {
            return put_on_trial(device, slot) == HT_REASON_OK && run_trial(device);
        }
    }
    return 0;
}

void ht_device_start(ht_device *device) {
    uint32_t newest_at;
    uint32_t detail = 0;
    ht_journal_load(device->flash, &device->journal, &newest_at);
    set_running(device, 0, HT_REASON_NO_MODEL, 0);
    if (device->journal.sequence == 0) {
        if (start_factory(device)) {
            return;
        }
    } else if (device->journal.trial <= 1 && run_trial(device)) {
        return;
    }
    if (device->journal.active > 1) {
        set_running(device, 0, HT_REASON_NO_MODEL, 0);
        return;
    }
    const ht_reason reason = start_active(device, &detail);
    if (reason != HT_REASON_OK && start_other(device, reason, detail)) {
        set_running(device, device->journal.active, HT_REASON_OK, 0);
        return;
    }
    set_running(device, device->journal.active, reason, detail);
}

/* ---- Changing slots */

static ht_reason check_free(const ht_device *device, uint32_t slot) {
    if (slot > 1) {
        return HT_REASON_RANGE;
    }
    return slot == device->journal.active || slot == device->journal.trial ||
                   slot == device->running
               ? HT_REASON_IN_USE
               : HT_REASON_OK;
}

ht_reason ht_device_erase(ht_device *device, uint32_t slot, uint32_t chunk) {
    const ht_flash *flash = device->flash;
    const ht_reason reason = check_free(device, slot);
    if (reason != HT_REASON_OK) {
        return reason;
    }
    if (chunk >= flash->slot_size / flash->chunk_size) {
        return HT_REASON_RANGE;
    }
    const uint32_t at = flash->slot_at[slot] + chunk * flash->chunk_size;
    return ht_flash_erase(flash, at, flash->chunk_size);
}

ht_reason ht_device_write(ht_device *device, uint32_t slot, uint32_t offset, const uint8_t *bytes,
                          uint32_t size, uint32_t *failed) {
    const ht_flash *flash = device->flash;
    *failed = 0;
    const ht_reason reason = check_free(device, slot);
    if (reason != HT_REASON_OK) {
        return reason;
    }
    if (offset > flash->slot_size || size > flash->slot_size - offset) {
        return HT_REASON_RANGE;
    }
    if (offset % flash->write_unit != 0 || size % flash->write_unit != 0) {
        return HT_REASON_MALFORMED;
    }
    uint32_t at = 0;
    const ht_reason result =
        ht_flash_program(flash, flash->slot_at[slot] + offset, bytes, size, &at);
    *failed = result == HT_REASON_OK ? 0 : at - flash->slot_at[slot];
    return result;
}

static int holds(const ht_device *device, uint32_t slot, const uint8_t id[32]) {
    uint8_t its_id[32];
    ht_bundle_id(ht_device_slot(device, slot), its_id);
    return memcmp(its_id, id, sizeof its_id) == 0;
}

ht_reason ht_device_finish(ht_device *device, uint32_t slot, int again, const uint8_t id[32],
                           uint32_t *detail, int *active) {
    const ht_journal *journal = &device->journal;
    *detail = 0;
    *active = journal->active <= 1 && journal->active == device->running &&
              holds(device, journal->active, id);
    if (*active) {
        return HT_REASON_OK;
    }
    ht_reason reason = check_free(device, slot);
    if (reason != HT_REASON_OK) {
        return reason;
    }
    if (!holds(device, slot, id)) {
        return HT_REASON_DIGEST;
    }
    if (!again && memcmp(journal->refused, id, sizeof journal->refused) == 0) {
        *detail = journal->outcome;
        return HT_REASON_REFUSED;
    }
    reason = verify(device, slot, 1, NULL, detail);
    return reason == HT_REASON_OK ? put_on_trial(device, slot) : reason;
}

ht_reason ht_device_run(ht_device *device) {
    if (device->running == HT_NO_SLOT) {
        return HT_REASON_NO_MODEL;
    }
    for (uint32_t i = 0; i < device->model.op_count; i++) {
        watch(device, i);
        if (ht_run_op(&device->model, i) != HT_OK) { /* weights in flash that decayed */
            return HT_REASON_STRUCTURE;
        }
    }
    watch(device, UINT32_MAX);
    return HT_REASON_OK;
}

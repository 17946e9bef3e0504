/* Requests that run the model. */
#include "hardtack/ht_board.h"
#include "ht_bytes.h"
#include "ht_link_internal.h"

static ht_reason need_model(const ht_link *link, ht_request *request) {
    request->detail = link->device.why;
    return link->device.running == HT_NO_SLOT ? HT_REASON_NO_MODEL : HT_REASON_OK;
}

typedef ht_status (*find_port)(const ht_model *model, uint32_t index, ht_port *port);

static uint32_t bytes_of(const ht_model *model, find_port find, uint32_t count) {
    uint32_t size = 0;
    for (uint32_t i = 0; i < count; i++) {
        ht_port port;
        (void)find(model, i, &port);
        size += ht_port_bytes(&port);
    }
    return size;
}

/* Copy between `bytes` and the ports, taken as one row, from byte `offset` of it on. The caller
 * has checked that offset + size does not pass the end. */
static void copy_row(const ht_model *model, find_port find, uint32_t offset, uint8_t *bytes,
                     uint32_t size, int into_ports) {
    for (uint32_t i = 0; size > 0; i++) {
        ht_port port;
        (void)find(model, i, &port);
        const uint32_t bytes_here = ht_port_bytes(&port);
        if (offset >= bytes_here) {
            offset -= bytes_here;
            continue;
        }
        const uint32_t n = size < bytes_here - offset ? size : bytes_here - offset;
        if (into_ports) {
            memcpy(port.codes + offset, bytes, n);
        } else {
            memcpy(bytes, port.codes + offset, n);
        }
        bytes += n;
        size -= n;
        offset = 0;
    }
}

static void begin_run(ht_run_state *run, uint32_t number) {
    run->newest = number;
    run->taken = 0;
    run->done = 0;
}

ht_reason ht_link_input(ht_link *link, ht_request *request) {
    const ht_model *model = &link->device.model;
    ht_run_state *run = &link->run;
    const uint32_t number = get32(request->body);
    const uint32_t offset = get32(request->body + 4);
    const uint32_t size = request->size - 8;
    ht_reason reason = need_model(link, request);
    if (reason != HT_REASON_OK) {
        return reason;
    }
    if (number < run->newest) {
        request->detail = run->newest;
        return HT_REASON_STALE;
    }
    if (number > run->newest && offset == 0) {
        begin_run(run, number);
    }
    const uint32_t taken = number > run->newest ? 0 : run->taken;
    const uint32_t total = bytes_of(model, ht_input, model->input_count);
    request->detail = taken;
    if (offset > taken) {
        return HT_REASON_GAP;
    }
    if (size > total - offset) {
        return HT_REASON_RANGE;
    }
    if (offset + size > taken) {
        const uint32_t known = taken - offset;
        copy_row(model, ht_input, taken, request->body + 8 + known, size - known, 1);
        run->taken = offset + size;
    }
    put32(request->body, run->taken);
    request->reply = 4;
    return HT_REASON_OK;
}

static uint32_t index_of_largest(const ht_model *model) {
    ht_port port;
    uint32_t top = 0;
    (void)ht_output(model, 0, &port);
    for (int32_t i = 1; i < port.elements; i++) {
        if (ht_port_code(&port, i) > ht_port_code(&port, (int32_t)top)) {
            top = (uint32_t)i;
        }
    }
    return top;
}

static void run_and_count(ht_link *link, uint32_t label) {
    ht_run_state *run = &link->run;
    const uint32_t start = ht_board_micros();
    (void)ht_device_run(&link->device);
    run->latency_us = ht_board_micros() - start;
    run->top = index_of_largest(&link->device.model);
    run->done = 1;
    link->predictions++;
    ht_telemetry_prediction(&link->telemetry, link->uptime_ms, run->latency_us, run->top, label);
}

ht_reason ht_link_run(ht_link *link, ht_request *request) {
    const ht_model *model = &link->device.model;
    ht_run_state *run = &link->run;
    const uint32_t number = get32(request->body);
    const uint32_t label = get16(request->body + 4);
    const ht_reason reason = need_model(link, request);
    if (reason != HT_REASON_OK) {
        ht_telemetry_error(&link->telemetry, link->uptime_ms);
        return reason;
    }
    if (number < run->newest) {
        request->detail = run->newest;
        return HT_REASON_STALE;
    }
    if (number > run->newest ||
        (!run->done && run->taken < bytes_of(model, ht_input, model->input_count))) {
        request->detail = number > run->newest ? 0 : run->taken;
        return HT_REASON_GAP;
    }
    if (!run->done) { /* a request that comes again is answered, not run, again */
        run_and_count(link, label);
    }
    uint8_t *end = put32(request->body, number);
    end = put32(end, run->latency_us);
    end = put32(end, bytes_of(model, ht_output, model->output_count));
    end = put16(end, run->top < 0xFFFF ? run->top : 0xFFFF);
    end = put16(end, 0);
    request->reply = (uint32_t)(end - request->body);
    return HT_REASON_OK;
}

ht_reason ht_link_output(ht_link *link, ht_request *request) {
    const ht_model *model = &link->device.model;
    const uint32_t offset = get32(request->body + 4);
    uint32_t length = get16(request->body + 8);
    const ht_reason reason = need_model(link, request);
    if (reason != HT_REASON_OK) {
        return reason;
    }
    request->detail = link->run.newest;
    if (get32(request->body) != link->run.newest || !link->run.done) {
        return HT_REASON_STALE;
    }
    const uint32_t total = bytes_of(model, ht_output, model->output_count);
    if (offset > total) {
        return HT_REASON_RANGE;
    }
    length = length < total - offset ? length : total - offset;
    length = length < HT_MAX_BODY ? length : HT_MAX_BODY;
    copy_row(model, ht_output, offset, request->body, length, 0);
    request->reply = length;
    return HT_REASON_OK;
}

/* What follows works in the memory of the run: its input and output are gone. */
static void forget_run(ht_link *link) {
    begin_run(&link->run, link->run.newest);
}

ht_reason ht_link_golden(ht_link *link, ht_request *request) {
    ht_golden golden;
    uint32_t op = 0;
    ht_reason reason = need_model(link, request);
    if (reason != HT_REASON_OK) {
        return reason;
    }
    (void)ht_golden_open(&link->device.model, &golden);
    const uint32_t index = get32(request->body);
    if (index >= golden.count) {
        request->detail = golden.count;
        return HT_REASON_RANGE;
    }
    forget_run(link);
    golden.watch = link->device.watch;
    if (ht_golden_replay(&link->device.model, &golden, index, &op) != HT_OK) {
        reason = HT_REASON_DIVERGED;
    }
    ht_fault_watch(HT_NO_OPERATOR);
    put32(put32(request->body, golden.count), op);
    request->reply = 8;
    return reason;
}

uint32_t ht_link_predict(ht_link *link, uint32_t label) {
    run_and_count(link, label);
    forget_run(link);
    return link->run.top;
}

ht_reason ht_link_layers(ht_link *link, ht_request *request) {
    ht_model *model = &link->device.model;
    const ht_reason reason = need_model(link, request);
    if (reason != HT_REASON_OK) {
        return reason;
    }
    const uint32_t first = get16(request->body);
    uint32_t count = get16(request->body + 2);
    if (first > model->op_count) {
        return HT_REASON_RANGE;
    }
    count = count < model->op_count - first ? count : model->op_count - first;
    count = count < (HT_MAX_BODY - 8) / 4 ? count : (HT_MAX_BODY - 8) / 4;
    forget_run(link);
    for (uint32_t i = 0; i < model->input_count; i++) {
        ht_port port;
        (void)ht_input(model, i, &port);
        memset(port.codes, 0, (size_t)port.elements);
    }
    uint8_t *end = put32(put32(request->body, model->op_count), 1000000);
    for (uint32_t i = 0; i < first + count; i++) {
        const uint32_t start = ht_board_micros();
        ht_fault_watch(i);
        (void)ht_run_op(model, i);
        if (i >= first) {
            end = put32(end, ht_board_micros() - start);
        }
    }
    ht_fault_watch(HT_NO_OPERATOR);
    request->reply = (uint32_t)(end - request->body);
    return HT_REASON_OK;
}

#include "hardtack/ht_log.h"

void ht_log_text(ht_log *log, const char *text) {
    for (; *text != '\0'; text++) {
        log->ring[log->end++ % HT_LOG_SIZE] = *text;
    }
}

void ht_log_number(ht_log *log, uint32_t number) {
    char digits[11];
    char *first = digits + 10;
    *first = '\0';
    do {
        *--first = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    ht_log_text(log, first);
}

uint32_t ht_log_read(const ht_log *log, uint32_t *position, uint8_t *out, uint32_t room) {
    const uint32_t oldest = log->end > HT_LOG_SIZE ? log->end - HT_LOG_SIZE : 0;
    uint32_t at = *position < oldest ? oldest : *position;
    at = at > log->end ? log->end : at;
    *position = at;
    uint32_t n = 0;
    while (at + n < log->end && n < room) {
        out[n] = (uint8_t)log->ring[(at + n) % HT_LOG_SIZE];
        n++;
    }
    return n;
}

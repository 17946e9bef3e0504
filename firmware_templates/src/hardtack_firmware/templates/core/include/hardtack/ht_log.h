/* The last lines of text since reset, numbered by bytes. */
#ifndef HARDTACK_HT_LOG_H
#define HARDTACK_HT_LOG_H

#include <stdint.h>

#define HT_LOG_SIZE 256u /* a power of two */

typedef struct ht_log {
    uint32_t end; /* bytes ever written */
    char ring[HT_LOG_SIZE];
} ht_log;

void ht_log_text(ht_log *log, const char *text);
void ht_log_number(ht_log *log, uint32_t number);

/* Copy what is kept from *position on, at most `room` bytes; *position becomes that of the first
 * byte copied. Returns how many. */
uint32_t ht_log_read(const ht_log *log, uint32_t *position, uint8_t *out, uint32_t room);

#endif

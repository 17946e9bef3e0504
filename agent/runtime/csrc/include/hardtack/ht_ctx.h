/* The coding `ctx`: adaptive binary decisions, mixed from three contexts each (SPEC section 1.9).
 *
 * The smallest of all codings and the slowest: some hundred instructions per element. Needs no
 * tables; about 1 KB of stack. */
#ifndef HARDTACK_HT_CTX_H
#define HARDTACK_HT_CTX_H

#include <stddef.h>
#include <stdint.h>

#include "hardtack/ht_status.h"

/* Decode a stream of rows * columns codes, row after row.
 *
 * HT_ERR_CODE_STREAM: no encoder wrote this, or bytes are left over. */
HT_API ht_status ht_ctx_decode(const uint8_t *in, size_t size, int32_t rows, int32_t columns,
                               int8_t *out);

/* Encode; for hosts, firmware does not link it.
 *
 * codes   int8 [rows][columns]; left as they are
 * lag     2..65535: how many columns apart elements resemble each other
 * size    bytes written, on HT_OK
 *
 * HT_ERR_MEMORY: takes more than `room` bytes. */
HT_API ht_status ht_ctx_encode(int8_t *codes, int32_t rows, int32_t columns, int32_t lag,
                               uint8_t *out, size_t room, size_t *size);

#endif

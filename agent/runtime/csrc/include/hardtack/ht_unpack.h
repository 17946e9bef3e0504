/* Unpacking of coded constants (SPEC section 1.7). */
#ifndef HARDTACK_HT_UNPACK_H
#define HARDTACK_HT_UNPACK_H

#include "hardtack/ht_bundle.h"

/* Of a constant, what a folded one behind it needs; 0 elements where there is no int8 one. */
typedef struct ht_constant {
    const int8_t *values;
    uint32_t elements;
} ht_constant;

/* Unpack a coded tensor, and clear what rounding up to a multiple of 16 leaves over.
 *
 * before  the last constant before it in the tensor table; ht_unpack_tensor makes it this one
 * out     ht_unpacked_bytes(tensor) bytes, at a multiple of 4 */
ht_status ht_unpack_tensor(const ht_bundle *bundle, const ht_tensor *tensor, ht_constant *before,
                           uint8_t *out);

/* Pass by a constant that is used where it is stored. */
void ht_pass_constant(const ht_bundle *bundle, const ht_tensor *tensor, ht_constant *before);

/* Unpack every coded tensor, in table order, each to the next multiple of 16.
 *
 * out  bundle->unpacked_size bytes, at a multiple of 4 */
ht_status ht_unpack_all(const ht_bundle *bundle, uint8_t *out);

#endif

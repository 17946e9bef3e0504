/* Unpacking of coded constants (SPEC section 1.7). */
#ifndef HARDTACK_HT_UNPACK_H
#define HARDTACK_HT_UNPACK_H

#include "hardtack/ht_bundle.h"

/* Unpack a coded tensor, and clear what rounding up to a multiple of 16 leaves over.
 *
 * out  ht_unpacked_bytes(tensor) bytes, at a multiple of 4 */
ht_status ht_unpack_tensor(const ht_bundle *bundle, const ht_tensor *tensor, uint8_t *out);

/* Unpack every coded tensor, in table order, each to the next multiple of 16.
 *
 * out  bundle->unpacked_size bytes, at a multiple of 4 */
ht_status ht_unpack_all(const ht_bundle *bundle, uint8_t *out);

#endif

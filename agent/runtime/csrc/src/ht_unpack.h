/* Unpacking of coded constants (SPEC section 1.7). */
#ifndef HT_UNPACK_H
#define HT_UNPACK_H

#include "hardtack/ht_bundle.h"

/* Unpack every coded tensor, in table order, each to the next multiple of 16.
 *
 * out  bundle->unpacked_size bytes, at a multiple of 4 */
ht_status ht_unpack_all(const ht_bundle *bundle, uint8_t *out);

#endif

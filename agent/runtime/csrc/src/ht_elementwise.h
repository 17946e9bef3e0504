/* What add and mul share. */
#ifndef HARDTACK_HT_ELEMENTWISE_H
#define HARDTACK_HT_ELEMENTWISE_H

#include "ht_check.h"

/* Each operand's dim is the output's, or 1 and repeated; it may lie exactly under the output. */
ht_status ht_elementwise_check(const ht_bundle *bundle, const ht_operator *op, unsigned types);

#endif

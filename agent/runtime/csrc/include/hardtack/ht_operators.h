/* The table of operators, by opcode. `src/ht_operators.c` lists them all; a firmware links a table
 * of its own instead, with NULL for those that its model does not use, and the linker leaves their
 * kernels out. */
#ifndef HARDTACK_HT_OPERATORS_H
#define HARDTACK_HT_OPERATORS_H

#include "hardtack/ht_bundle.h"
#include "hardtack/ht_kernels.h"

#define HT_OPERATORS 14 /* the largest opcode and one; opcode 0 is none */

typedef struct ht_operator_entry ht_operator_entry;

extern const ht_operator_entry ht_operator_conv_2d;
extern const ht_operator_entry ht_operator_depthwise_conv_2d;
extern const ht_operator_entry ht_operator_fully_connected;
extern const ht_operator_entry ht_operator_add;
extern const ht_operator_entry ht_operator_mul;
extern const ht_operator_entry ht_operator_concat;
extern const ht_operator_entry ht_operator_pad;
extern const ht_operator_entry ht_operator_max_pool_2d;
extern const ht_operator_entry ht_operator_average_pool_2d;
extern const ht_operator_entry ht_operator_mean;
extern const ht_operator_entry ht_operator_transpose;
extern const ht_operator_entry ht_operator_softmax;
extern const ht_operator_entry ht_operator_lookup;

extern const ht_operator_entry *const ht_operators[HT_OPERATORS];

/* Kernels of conv_2d and fully_connected for weights that are used where they lie, by coding from
 * HT_SPARSE on; NULL for those that no model has. */
extern ht_conv_2d_kernel *const ht_in_place_kernels[HT_IN_PLACE_END - HT_SPARSE];

/* Their kernel for weights with a high plane; NULL where no model has one. */
extern ht_conv_2d_split_kernel *const ht_split_kernel;

#endif

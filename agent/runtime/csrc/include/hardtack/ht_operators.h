/* The table of operators, by opcode. `src/ht_operators.c` lists them all; a firmware links a table
 * of its own instead, with NULL for those that its model does not use, and the linker leaves their
 * kernels out. */
#ifndef HARDTACK_HT_OPERATORS_H
#define HARDTACK_HT_OPERATORS_H

#include "hardtack/ht_bundle.h"

#define HT_OPERATORS 26 /* the largest opcode and one; opcode 0 is none */

typedef struct ht_operator_entry ht_operator_entry;
typedef struct ht_in_place_entry ht_in_place_entry;
typedef struct ht_split_entry ht_split_entry;

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
extern const ht_operator_entry ht_operator_rescale;
extern const ht_operator_entry ht_operator_conv_2d_s16;
extern const ht_operator_entry ht_operator_depthwise_conv_2d_s16;
extern const ht_operator_entry ht_operator_fully_connected_s16;
extern const ht_operator_entry ht_operator_add_s16;
extern const ht_operator_entry ht_operator_mul_s16;
extern const ht_operator_entry ht_operator_concat_s16;
extern const ht_operator_entry ht_operator_pad_s16;
extern const ht_operator_entry ht_operator_max_pool_2d_s16;
extern const ht_operator_entry ht_operator_average_pool_2d_s16;
extern const ht_operator_entry ht_operator_mean_s16;
extern const ht_operator_entry ht_operator_transpose_s16;

extern const ht_operator_entry *const ht_operators[HT_OPERATORS];

/* What conv_2d and fully_connected need for weights that are used where they lie, by coding from
 * HT_SPARSE on; NULL for codings that no model has. */
extern const ht_in_place_entry ht_in_place_sparse;
extern const ht_in_place_entry ht_in_place_packed;
extern const ht_in_place_entry ht_in_place_xnor; /* of packed ones too, and binary inputs */
extern const ht_in_place_entry ht_in_place_sparse_columns;

extern const ht_in_place_entry *const ht_in_place[HT_IN_PLACE_END - HT_SPARSE];

/* And for weights with a high plane; NULL where no model has one. */
extern const ht_split_entry ht_split_planes;

extern const ht_split_entry *const ht_split;

#endif

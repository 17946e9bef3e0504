/* Where the results of a convolution go. A kernel whose results may be int16 defines before:
 *
 * OUT_AT   the place of an output code, so many behind another
 * FINISH   ht_finish_s8, or ht_finish_s16 */
#ifndef HARDTACK_HT_FINISH_H
#define HARDTACK_HT_FINISH_H

#include "ht_vector.h"

#ifndef FINISH
#define OUT_AT(stage, out, n) ((out) + (n))
#define FINISH ht_finish_s8
#endif

#endif

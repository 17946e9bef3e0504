/* All of the runtime, for sketches. */
#ifndef HARDTACK_H
#define HARDTACK_H

#ifdef __cplusplus
extern "C" {
#endif

#include "hardtack/ht_golden.h"
#include "hardtack/ht_interpreter.h"
#include "hardtack/ht_kernels.h"

#ifdef __cplusplus
}
#endif

#endif

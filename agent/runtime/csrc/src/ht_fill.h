/* n codes of one value; of one byte each, the library's own way is the fast one. */
#ifndef HARDTACK_HT_FILL_H
#define HARDTACK_HT_FILL_H

#include <stdint.h>
#include <string.h>

#define HT_FILL(out, code, n)                                                                      \
    do {                                                                                           \
        if (sizeof *(out) == 1) {                                                                  \
            memset((out), (code), (size_t)(n) * sizeof *(out));                                    \
        } else {                                                                                   \
            for (int32_t i_ = 0; i_ < (n); i_++) {                                                 \
                (out)[i_] = (CODE)(code);                                                          \
            }                                                                                      \
        }                                                                                          \
    } while (0)

#endif

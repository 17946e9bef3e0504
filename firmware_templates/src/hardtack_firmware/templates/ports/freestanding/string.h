/* For compilers that come without a C library (zig): what the firmware uses of <string.h>. */
#ifndef HARDTACK_STRING_H
#define HARDTACK_STRING_H

#include <stddef.h>

void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *text);

#endif

/* What every function of the runtime returns. */
#ifndef HARDTACK_HT_STATUS_H
#define HARDTACK_HT_STATUS_H

#if defined(__GNUC__) && !defined(_WIN32)
#define HT_API __attribute__((visibility("default")))
#else
#define HT_API
#endif

/* A size the compiler checks; _Static_assert came with C11. */
#define HT_STATIC_ASSERT(name, condition) typedef char ht_assert_##name[(condition) ? 1 : -1]

typedef enum ht_status {
    HT_OK = 0,
    HT_ERR_ARGUMENT = -1,     /* the caller broke the contract of the function */
    HT_ERR_ALIGNMENT = -2,    /* a bundle or unpack memory not at a multiple of 4 */
    HT_ERR_NOT_A_BUNDLE = -3, /* magic missing, or fewer bytes than a header */
    HT_ERR_TRUNCATED = -4,    /* total_size exceeds the bytes at hand */
    HT_ERR_FORMAT = -5,       /* format_version is not HT_FORMAT_VERSION */
    HT_ERR_ABI = -6,          /* kernel_abi is not HT_KERNEL_ABI */
    HT_ERR_HEADER = -7,       /* a header field is out of range, a reserved byte set */
    HT_ERR_SECTION = -8,      /* the section table is wrong */
    HT_ERR_TENSOR = -9,       /* an entry of TENS is wrong */
    HT_ERR_CODE_TABLE = -10,  /* a table of HUFF is wrong */
    HT_ERR_CODE_STREAM = -11, /* coded bytes that no encoder wrote */
    HT_ERR_PROGRAM = -12,     /* PROG is cut short, or a record has the wrong length */
    HT_ERR_OPCODE = -13,      /* an operator that does not exist */
    HT_ERR_OPERATOR = -14,    /* a field or a shape of an operator is wrong */
    HT_ERR_MEMORY = -15,      /* the caller's memory is too small or not given yet */
    HT_ERR_GOLDEN = -16,      /* GOLD is wrong */
    HT_ERR_DIVERGED = -17,    /* a golden vector gave other bits */
    HT_ERR_NOT_LINKED = -18   /* an operator, or a coding of its weights, that was left out */
} ht_status;

/* One line of English for a status; never NULL. */
HT_API const char *ht_status_text(ht_status status);

#endif

#include "hardtack/ht_status.h"

const char *ht_status_text(ht_status status) {
    switch (status) {
    case HT_OK:
        return "ok";
    case HT_ERR_ARGUMENT:
        return "wrong argument";
    case HT_ERR_ALIGNMENT:
        return "the bundle or the unpack memory is not aligned";
    case HT_ERR_NOT_A_BUNDLE:
        return "not a bundle";
    case HT_ERR_TRUNCATED:
        return "the bundle is cut short";
    case HT_ERR_FORMAT:
        return "unknown format version";
    case HT_ERR_ABI:
        return "unknown kernel ABI";
    case HT_ERR_HEADER:
        return "malformed header";
    case HT_ERR_SECTION:
        return "malformed section table";
    case HT_ERR_TENSOR:
        return "malformed tensor table";
    case HT_ERR_CODE_TABLE:
        return "malformed Huffman table";
    case HT_ERR_CODE_STREAM:
        return "malformed Huffman stream";
    case HT_ERR_PROGRAM:
        return "malformed program";
    case HT_ERR_OPCODE:
        return "unknown operator";
    case HT_ERR_OPERATOR:
        return "operator with wrong fields or shapes";
    case HT_ERR_MEMORY:
        return "memory too small or not given";
    case HT_ERR_GOLDEN:
        return "malformed golden vectors";
    case HT_ERR_DIVERGED:
        return "a golden vector gave other bits";
    case HT_ERR_NOT_LINKED:
        return "operator, or a coding of its weights, that was left out of this build";
    }
    return "unknown status";
}

/* Why a device refuses (SPEC section 7.3): the status of a reply, the outcome of a trial. */
#ifndef HARDTACK_HT_REASON_H
#define HARDTACK_HT_REASON_H

typedef enum ht_reason {
    HT_REASON_OK = 0,
    HT_REASON_UNKNOWN = 1,    /* a type of request this device does not know */
    HT_REASON_MALFORMED = 2,  /* a body of the wrong length, or a wrong field */
    HT_REASON_RANGE = 3,      /* slot, chunk, offset, index or length out of range */
    HT_REASON_IN_USE = 4,     /* the slot is active or on trial */
    HT_REASON_NOT_ERASED = 5, /* other bytes are there */
    HT_REASON_FLASH = 6,      /* the flash did not take it */
    HT_REASON_HEADER = 7,     /* no header of a bundle this firmware reads */
    HT_REASON_KEY = 8,        /* signed by nobody it knows */
    HT_REASON_SIGNATURE = 9,  /* not signed by whom it says */
    HT_REASON_HARDWARE = 10,  /* for another class of device */
    HT_REASON_VERSION = 11,   /* below the floor, or other bytes under the same version */
    HT_REASON_DIGEST = 12,    /* changed bytes */
    HT_REASON_STRUCTURE = 13, /* the runtime does not read it */
    HT_REASON_MEMORY = 14,    /* needs more memory than there is */
    HT_REASON_DIVERGED = 15,  /* a golden vector gave other bits */
    HT_REASON_GAVE_UP = 16,   /* three trials begun, none ended */
    HT_REASON_REFUSED = 17,   /* given up before */
    HT_REASON_NO_MODEL = 18,  /* no model runs */
    HT_REASON_GAP = 19,       /* input is missing */
    HT_REASON_STALE = 20,     /* another run came since */
    HT_REASON_OPERATOR =
        21 /* built without an operator of the model, or the coding of its weights */
} ht_reason;

#endif

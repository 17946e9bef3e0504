/* Between the parts of ht_link: a request and the reply that takes its place. */
#ifndef HARDTACK_HT_LINK_INTERNAL_H
#define HARDTACK_HT_LINK_INTERNAL_H

#include "hardtack/ht_link.h"

typedef struct ht_request {
    uint8_t *body;   /* of the request; the reply is written over it */
    uint32_t size;   /* of the request's body */
    uint32_t reply;  /* of the reply's body */
    uint32_t detail; /* the body of a refusal that has no other */
} ht_request;

typedef ht_reason (*ht_handler)(ht_link *link, ht_request *request);

ht_reason ht_link_input(ht_link *link, ht_request *request);
ht_reason ht_link_run(ht_link *link, ht_request *request);
ht_reason ht_link_output(ht_link *link, ht_request *request);
ht_reason ht_link_golden(ht_link *link, ht_request *request);
ht_reason ht_link_layers(ht_link *link, ht_request *request);

#endif

/*
 * A link that went down, as the client tells of it.
 */
#ifndef GAVEL__LOSS_H
#define GAVEL__LOSS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct gavel__loss {
    uint64_t n_sent;   /* bytes of commands handed to the kernel */
    bool is_final;     /* trying again cannot help */
    bool is_refused;   /* by the server, in the message's words */
    bool is_cut;       /* it was up, and the server or what lies between has closed it */
    bool is_too_large; /* the reply that came next was more than a link takes */
    const char *message;
} gavel__loss;

#endif

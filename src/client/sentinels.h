/*
 * A client's links to Sentinels: two to each, one that asks and one that listens. For the pump, of
 * clients whose primary is theirs to tell.
 *
 * What they say is judged in topology/sentinel.c. Here it is carried to the engine: until when the
 * primary may be believed, and that another one has taken its place.
 */
#ifndef GAVEL__CLIENT_SENTINELS_H
#define GAVEL__CLIENT_SENTINELS_H

#include "client/site.h"
#include "loop/loop.h"
#include "topology/sentinel.h"

struct gavel__peer;

/* One of the two. */
typedef struct gavel__peer_link {
    struct gavel__peer *peer;
    bool is_listener;
    gavel__link *link;
    gavel__watch watch;
    gavel__route route;
    bool is_dialling;
    bool awaits_endpoint;
    int64_t dialled_us;  /* when it was last */
    int64_t dial_us;     /* DOWN: not before */
    uint32_t n_failures; /* in a row */
} gavel__peer_link;

/* A Sentinel. */
typedef struct gavel__peer {
    gavel_client *client;
    uint32_t place;     /* among those that topology knows */
    bool is_in_trouble; /* as far as the log has told */
    gavel__site site;
    gavel__peer_link asker;
    gavel__peer_link listener;
} gavel__peer;

typedef struct gavel__peers {
    gavel__sentinels known;
    gavel__peer *all[GAVEL__SENTINELS_MAX]; /* by place; as many as were made so far */
    uint32_t n;
    uint32_t n_seeds;    /* the first of those that are known: the URL's */
    uint64_t generation; /* of the primary that the client's links go to */
    bool has_news;       /* they are to be served by the next turn */
    int64_t due_us;      /* else not before */
} gavel__peers;

/* Whether they are to be served now: mostly not. While the primary is not believed, why changes. */
static inline bool gavel__peers_are_due(const gavel__peers *peers, int64_t now_us)
{
    return peers->has_news || peers->due_us <= now_us || peers->known.trusted_until_us <= now_us;
}

/* For a client whose address says so. False: no memory. */
bool gavel__peers_open(gavel_client *client, const gavel_config *config);

/* Takes a client without. */
void gavel__peers_close(gavel_client *client, bool is_child);

/* Dials, asks, and tells the engine what follows. True: there is another primary, and what is being
 * dialled is to be dialled anew. */
bool gavel__peers_serve(gavel_client *client, int64_t now_us);

/* Something speaks against the primary: all are asked. Takes a client without. */
void gavel__peers_urge(gavel_client *client, int64_t now_us);

/* Watches what the loop is to look at, before it sleeps. `on_ready` calls gavel__peers_on_ready,
 * which returns whose it was, and pumps the client. */
typedef void gavel__on_peer_ready(gavel__watch *watch, bool is_readable, bool is_writable);
void gavel__peers_watch(gavel_client *client, gavel__on_peer_ready *on_ready);
gavel_client *gavel__peers_on_ready(gavel__watch *watch, bool is_readable, bool is_writable);

/* When they are to be served again; GAVEL__NEVER. */
int64_t gavel__peers_due_us(const gavel_client *client);

/* Whether an answer of theirs is awaited: who sleeps on another link would not see it. */
bool gavel__peers_are_asked(const gavel_client *client);

#endif

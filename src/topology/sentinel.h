/*
 * Sentinels: what those of a service have told, and where its primary is by that. Pure: replies,
 * losses and time come in; commands, the primary, and until when it may be believed go out.
 *
 *     NONE --a majority names one--> FOUND --a higher epoch names another--+
 *                                      ^                                   | a new generation
 *                                      +-----------------------------------+
 *
 * Two questions are kept apart.
 *
 * Where is the primary? Where the highest config-epoch says. A failover takes a new epoch, which a
 * majority has granted, so the one who names the highest knows best, and whoever names a lower one
 * is behind. A lower epoch than ours is never followed; but if for a while nobody names our
 * primary any more, and a majority names another, the Sentinels were set up anew.
 *
 * May it be believed? A primary that was replaced does not know, and goes on for ten seconds. A
 * failover begins when the primary has not answered Sentinels for so long (down-after). So while a
 * majority says that it is the primary and not down, it stays so for a while: until
 * `trusted_until_us`. Nor is it believed while a Sentinel has a failover under way. What is
 * committed at a primary that was replaced all the same is lost; nothing rests on this trust but
 * how much that is.
 *
 * Who is eager goes where a Sentinel has told a replica to take over, before it names that one: the
 * primary is provisional till then, and `settled` the one before, to which a failover that is given
 * up leads back. What may be told meanwhile, docs/design.md says (Eager).
 *
 * Sentinels are found by seeds, and by one another: each names the others. So one may be known by
 * several places: that of the URL is a name, say. One of these is asked; when it is lost, all are
 * tried, for the Sentinel may have moved to another address.
 */
#ifndef GAVEL__SENTINEL_H
#define GAVEL__SENTINEL_H

#include "base/buffer.h"
#include "topology/testimony.h"

#include <gavel/outcome.h>
#include <gavel/reply.h>

/* So many are asked. */
#define GAVEL__SENTINELS_MAX 32

/* As SENTINEL MYID answers. */
#define GAVEL__SENTINEL_ID_SIZE 48

typedef struct gavel__sentinel {
    gavel__place_name place;
    char id[GAVEL__SENTINEL_ID_SIZE]; /* "": not known yet */
    bool is_identified;               /* it has said so itself, on this connection */
    bool is_lost;                     /* the link was, and it has not answered since */
    bool is_double;                   /* the same as another one that answers: not asked */
    int64_t known_us;                 /* when it last answered, or another one named it */
    bool has_testimony;
    gavel__testimony testimony;       /* the last one */
    gavel__testimony incoming;        /* of the question under way */
    char trouble[GAVEL_MESSAGE_SIZE]; /* why it has none, "" */
    int64_t hopeless_us; /* since when it is of no use, and will not be: it says that there is no
                            such service, or cannot be asked as we are set up; 0: it may be */
    uint8_t awaited[8];  /* what its replies to come are of, in order */
    uint32_t n_awaited;
    uint32_t i_awaited;
    int64_t ask_us;  /* not before */
    int64_t list_us; /* when to ask for the others */
} gavel__sentinel;

typedef struct gavel__sentinels {
    const gavel_allocator *allocator; /* borrowed */
    const char *service;              /* borrowed */
    bool may_go_without;              /* if no majority can be had, the last primary is believed */
    bool is_eager;                    /* a primary that is promoted need not be named yet */
    gavel__sentinel *all;
    uint32_t n;
    gavel__place_name primary; /* "": NONE */
    uint64_t epoch;            /* as of a testimony */
    uint64_t generation;       /* 0: NONE; one more with each primary */
    int64_t raised_us; /* when it was followed by a higher epoch; GAVEL__NEVER: it was not */
    int64_t named_us;  /* when somebody last named it */
    int64_t trusted_until_us;
    bool is_provisional;       /* nobody names the primary yet; and then: */
    gavel__place_name settled; /* the one before */
    uint32_t leader;           /* who has promoted it: its place among all */
    int64_t promoted_us;       /* when that was said first */
    bool wants_replicas;       /* to be set: the primary's replicas are asked for as well */
    int64_t replicas_us;       /* not before */
    gavel__place_name replicas[GAVEL__TESTIMONY_REPLICAS_MAX]; /* that can be had, as last told */
    uint32_t n_replicas;
    uint64_t replicas_version; /* how often they were told */
} gavel__sentinels;

void gavel__sentinels_init(
    gavel__sentinels *sentinels, const gavel_allocator *allocator, const char *service);
void gavel__sentinels_finish(gavel__sentinels *sentinels);

/* One of the URL's. False: no memory, or too many. */
bool gavel__sentinels_add(gavel__sentinels *sentinels, const char *host, int port);

/* ---- Asking -------------------------------------------------------------------------------- */

/* Whether the i-th is to be asked now, if there is a link to it. */
bool gavel__sentinels_wants(const gavel__sentinels *sentinels, uint32_t i, int64_t now_us);

/* Appends the questions; returns how many replies are to come. */
size_t gavel__sentinels_ask(
    gavel__sentinels *sentinels, uint32_t i, gavel__buffer *out, int64_t now_us);

/* The next reply. With the last one `primary` and `trusted_until_us` may be others, and there may
 * be more Sentinels. */
void gavel__sentinels_on_reply(
    gavel__sentinels *sentinels, uint32_t i, const gavel_reply *reply, int64_t now_us);

typedef struct gavel__sentinel_loss {
    const char *message;
    bool is_final; /* trying again cannot help: it is no Sentinel, refuses the login, has no TLS */
} gavel__sentinel_loss;

/* The link was lost, or could not be had. */
void gavel__sentinels_on_loss(
    gavel__sentinels *sentinels, uint32_t i, const gavel__sentinel_loss *loss, int64_t now_us);

/* Something has changed, or speaks against the primary (a link to it was lost, it says that it is
 * none): all are asked at once. */
void gavel__sentinels_urge(gavel__sentinels *sentinels, int64_t now_us);

/* May change `trusted_until_us`. */
void gavel__sentinels_advance(gavel__sentinels *sentinels, int64_t now_us);

/* When there is something to be decided without an answer, behind now_us; GAVEL__NEVER. When one
 * wants to be asked says its `ask_us`, which is of use only while there is a link to it. */
int64_t gavel__sentinels_due_us(const gavel__sentinels *sentinels, int64_t now_us);

/* ---- The answers --------------------------------------------------------------------------- */

/* How many replicas the primary has, there or not, by those who name it. */
uint32_t gavel__sentinels_count_replicas(const gavel__sentinels *sentinels);

/* Whether its last words are of this primary, in this epoch or a later one. */
static inline bool gavel__sentinel_names(
    const gavel__sentinel *sentinel, const gavel__place_name *primary, uint64_t epoch)
{
    return !sentinel->is_double && sentinel->has_testimony && sentinel->testimony.epoch >= epoch &&
           gavel__place_is_same(&sentinel->testimony.primary, primary);
}

/*
 * Whether no primary will ever be named, as far as can be told: none ever was, and a majority of
 * those that are known has said for a second that they know of no such service, or could not be
 * asked for so long, for reasons that stay. All of them, where one is enough.
 */
bool gavel__sentinels_are_hopeless(const gavel__sentinels *sentinels, int64_t now_us);

/* Why there is no primary, or none that may be believed; for people. */
void gavel__sentinels_explain(
    const gavel__sentinels *sentinels, int64_t now_us, char message[GAVEL_MESSAGE_SIZE]);

/* ---- Between sentinel.c and trouble.c -------------------------------------------------------- */

/* How many that is, of all Sentinels that anybody knows. */
uint32_t gavel__sentinels_majority(const gavel__sentinels *sentinels, int64_t now_us);

/* Sentinels that have said anything lately. */
uint32_t gavel__sentinels_count_answers(const gavel__sentinels *sentinels, int64_t now_us);

#endif

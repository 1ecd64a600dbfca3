/*
 * The ledger: which commits were told, for as long as the server can still lose them.
 *
 * A server that crashes or fails over may go back to an older state of its data. What a link's
 * marker holds there says of each round of that link whether it is still in it, since a marker's
 * numbers only rise, and each stands in the same EXEC as the writes. So each commit that is told is
 * entered under its round's number, page by page: a page covers what one planting of a marker does.
 * An audit asks of each page, on any link:
 *
 *     GET marker    a number: the rounds up to it are in the data, those above are lost
 *                   nothing: all of the page's are lost; but no more is known if the marker may
 *                   have passed away by now, or was seen to be gone before (evicted, say), or is
 *                   below its first planting (gone, and counted up from nothing)
 *
 * In a Cluster `PEXPIRE nothing 1` stands before it, of a key that is never there: a node that was
 * killed and has lost its data may answer reads before another one takes its place, but no writes.
 *
 * Each that is lost is told once: an event, a count. Those that are not stay, since the next state
 * that the server goes back to may lack them: all are audited again each time.
 *
 *     a page's question    IDLE --audit--> PENDING --> ASKED --answered--> IDLE
 *                           ^                            |
 *                           +--- is_due: again later ----+  an error, or no link will ever do
 *
 * Only rounds that were entered before the question was written are judged by its answer. Entries
 * are kept for a minute behind the newest one, and at most 2^20: what was dropped can no longer be
 * named, but of the last such round of each page it is known whether it is lost.
 *
 * Nor is a node believed that was replaced and has not heard of it yet (see history.h), of a slot
 * that has had another node: the question is asked again later, of whoever serves the slot then.
 *
 * A slot that migrates refuses the question, which is asked again later. Once it has migrated, its
 * keys have gone one after another: if a server went back meanwhile, or to a time before the end of
 * that, the marker says nothing of the others any more. So all that stands on a page whose slot has
 * migrated since its planting may be lost (GAVEL_EVENT_MAY_BE_LOST), if
 *
 *     one of the two nodes may have gone back between its first entry and that, or either is seen
 * to have done so since (see history.h); or the marker is gone or less than it was
 *
 * It may also have been away and come back, unseen, and a node may have fallen that had it then. So
 * whenever one falls, all pages are asked, and then their nodes for their epochs, before anything
 * is told. These are given out one after another: to a node to which a slot comes, and to who takes
 * another one's place. So it has stayed
 *
 *     where its node has the epoch that it had before the planting, or
 *     where replicas took over, and all epochs from those of the planting to that of who has it now
 *     are known to be of such ones
 *
 * and else it may have migrated. Others may be about to say so of theirs: a second is left to them.
 * Of one that has migrated nobody knows which way it went between two looks at the map. So what
 * stands on its page may be lost whichever node falls; and also where the node has not answered
 * until then. Who may not ask for epochs goes without, but for slots that have migrated.
 *
 * Who plants a marker turns the page; who tells COMMITTED enters. No I/O, no clock: the engine says
 * when to audit.
 */
#ifndef GAVEL__LEDGER_H
#define GAVEL__LEDGER_H

#include "core/context.h"
#include "core/names.h"
#include "core/question.h"

struct gavel__ledger;

/* What a node says of its Cluster's epochs. */
typedef struct gavel__epochs {
    uint64_t own;    /* of the node itself, plus one; 0: not known, or it does not say */
    uint64_t newest; /* the highest that it knows of, plus one; 0: not known */
    int64_t at_us;   /* when it was asked; 0: it was not, or has not answered */
} gavel__epochs;

typedef struct gavel__page {
    gavel__list node; /* among the ledger's */
    struct gavel__ledger *ledger;
    gavel__question question;
    char marker[GAVEL__MARKER_SIZE];
    size_t marker_size;
    uint64_t first_number; /* of the marker's first planting */
    uint64_t number;       /* of this one: round 0 */
    int64_t passes_us;     /* on the lease clock: from then on the marker may have passed away */
    uint32_t n_pins;       /* whoever may still enter here: its lane, doubts of its rounds */
    size_t n_entries;
    uint32_t last;        /* round that was entered */
    uint32_t dropped;     /* the last round of which something was dropped; 0: none */
    uint32_t asked;       /* ASKED: the last round when it was written */
    gavel__epochs epochs; /* of its node, when its slot was surely there, never away since */
    int64_t unseen_us;    /* its slot may have been away unseen when a node fell then; 0: no */
    int64_t stayed_us;    /* and was there again, or still, at this time; 0: not asked yet */
    uint64_t been_at; /* its slot has migrated: a bit for each node, modulo 64, that has had it */
    bool is_gone;     /* its marker was seen to be gone: that it is absent proves nothing */
    bool has_moved;   /* its slot has another node than when it was planted, or has had one */
    bool has_migrated;
    bool may_be_lost; /* it has migrated, and whatever stands on it may be lost */
    bool is_whole;    /* ASKED: by the reply, the marker is not less than it was */
    bool is_refused;  /* ASKED: the node does not write or was replaced, or the slot has moved */
    bool is_due;      /* to be asked once more, from ask_us on; GAVEL__NEVER: when a link is up */
    int64_t ask_us;
    int64_t pause_us; /* before that, the last time; 0: it has answered since */
} gavel__page;

typedef struct gavel__entry {
    gavel__page *page; /* NULL: it was told as lost */
    gavel_ticket ticket;
    uint32_t round; /* of its page */
    uint32_t at_s;  /* on the engine's clock */
} gavel__entry;

/* What an audit has found. */
typedef struct gavel__audit {
    uint64_t n_lost;
    uint64_t n_may_be_lost;
    uint32_t oldest_s; /* when the oldest was told that could be named; 0: none could */
} gavel__audit;

#define GAVEL__LEDGER_MAX ((size_t)1 << 20)

typedef struct gavel__ledger_config {
    bool is_kept; /* false: there are no pages, and nothing is entered */
    bool is_cluster;
    gavel_bytes key_prefix;
    int64_t marker_ttl_us;
    int64_t (*read_lease_clock)(void *clock); /* one that goes on while the machine sleeps */
    void *clock;
    /* Of a Cluster: see gavel__engine_fell_us and those behind it. */
    int64_t (*fell_us)(const void *nodes, uint16_t slot);
    gavel__epochs (*epochs)(const void *nodes, uint16_t slot, int64_t since_us);
    bool (*has_stayed)(const void *nodes, uint16_t slot, const gavel__epochs *before);
    bool (*is_replaced)(const void *nodes, uint16_t slot);
    const void *nodes;
} gavel__ledger_config;

typedef struct gavel__ledger {
    gavel__ledger_config config;
    gavel__context *context;
    gavel__questions *questions;
    gavel__list pages;
    gavel__entry *entries; /* a ring of 2^n */
    size_t capacity;
    size_t max_entries;
    size_t first;
    size_t n;
    size_t n_due; /* pages */
    gavel__audit audit;
} gavel__ledger;

void gavel__ledger_init(gavel__ledger *ledger, gavel__context *context, gavel__questions *questions,
    const gavel__ledger_config *config);

/* Nobody may enter or be asked any more. */
void gavel__ledger_finish(gavel__ledger *ledger);

/* A marker, as it was planted just now. */
typedef struct gavel__planted {
    gavel_bytes marker;
    uint64_t first_number;
    uint64_t number;
} gavel__planted;

/* The page to go on with behind `page` (NULL: none), which its lane leaves. NULL: the ledger is not
 * kept, or there is no memory: then what commits under this planting is not entered. */
gavel__page *gavel__ledger_turn(
    gavel__ledger *ledger, gavel__page *page, const gavel__planted *planted);

/* One more, or one less, that may still enter here. Both take NULL. */
void gavel__page_pin(gavel__page *page);
void gavel__page_leave(gavel__page *page);

/* The marker was seen to hold this number, less than it did: what was entered of later rounds is
 * lost. Takes NULL. */
void gavel__page_on_fallen(gavel__page *page, uint64_t number);

/* The marker was seen to be gone. Takes NULL. */
void gavel__page_on_marker_gone(gavel__page *page);

/* A transaction of the round with this number is told that it committed. */
void gavel__page_enter(gavel__page *page, uint64_t number, gavel_ticket ticket, int64_t now_us);

/* Where a server may have gone back to an older state: asks for each marker whose slot is meant. */
typedef bool gavel__is_meant(const void *user, uint16_t slot);
void gavel__ledger_audit(gavel__ledger *ledger, gavel__is_meant *is_meant, const void *user);

/* The same, of slots that a replica has taken over. What its old primary said before, and is heard
 * only later, is asked for again. */
typedef struct gavel__takeover {
    gavel__is_meant *is_meant;
    const void *user;
    int64_t now_us;
} gavel__takeover;

void gavel__ledger_on_takeover(gavel__ledger *ledger, const gavel__takeover *takeover);

/* A slot that has migrated. */
typedef struct gavel__migration {
    uint16_t from; /* node; GAVEL__NO_NODE: not known */
    uint16_t to;
    int64_t fell_us; /* when one of them may last have gone back; 0: never */
} gavel__migration;

/* False: the slot has not migrated. */
typedef bool gavel__migrated(const void *user, uint16_t slot, gavel__migration *ret_migration);

/* Slots have migrated. Before the nodes that they are at now are asked for anything. */
void gavel__ledger_on_migration(gavel__ledger *ledger, gavel__migrated *migrated, const void *user);

/* It was planted at a node that the slot is on its way to. Takes NULL. */
void gavel__page_on_guest(gavel__page *page, uint16_t from, uint16_t to);

/* A node has said its epochs that had not before: in time for whatever falls from now on. */
void gavel__ledger_on_epochs(gavel__ledger *ledger);

/* This node has gone back, or was seen to have been replaced: now, or before it was seen. */
void gavel__ledger_on_fall(gavel__ledger *ledger, uint16_t node);

/* And any slot may have been there before, unseen. */
void gavel__ledger_suspect(gavel__ledger *ledger, int64_t now_us);

/* A link is up: whoever had none asks again. */
void gavel__ledger_on_link_up(gavel__ledger *ledger);

/* Asks again what the server would not answer. */
void gavel__ledger_advance(gavel__ledger *ledger, int64_t now_us);

/* When it wants to be called again; GAVEL__NEVER. */
int64_t gavel__ledger_due_us(const gavel__ledger *ledger);

/* What the audits that are over have found, since this was last asked. False: nothing. */
bool gavel__ledger_take_audit(gavel__ledger *ledger, gavel__audit *ret_audit);

#endif

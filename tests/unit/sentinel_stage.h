/*
 * Sentinels that are made to say things, and a clock, for the tests of what follows. Before each
 * test sentinels_set_up, and behind it sentinels_tear_down.
 */
#ifndef SENTINEL_STAGE_H
#define SENTINEL_STAGE_H

#include "topology/sentinel.h"

#include "base/heap.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#define MS INT64_C(1000)
#define DOWN_AFTER_MS 1000
#define N 3

/* What a Sentinel is made to say. */
typedef struct words {
    int port; /* of the primary; 0: it does not know the service */
    int epoch;
    const char *flags;
    int was;     /* of the one that its flags are of; 0: the same */
    int ping_ms; /* for so long that one has owed it an answer */
    const char *n_replicas;
    const char *ping;       /* in place of ping_ms */
    const char *down_after; /* of DOWN_AFTER_MS */
    const char *state;      /* of the failover that it leads */
    bool is_tilted;         /* it stands still */
    int promoted;           /* the replica that is to take over; 0: none yet */
} words;

static gavel__sentinels sentinels;
static gavel__buffer out;
static int64_t now;

static inline void sentinels_set_up(void)
{
    now = 1000 * MS;
    gavel__buffer_init(&out, &gavel__system_allocator);
    gavel__sentinels_init(&sentinels, &gavel__system_allocator, "m");
    for (int i = 0; i < N; i++)
        cr_assert(gavel__sentinels_add(&sentinels, "s", i + 1));
}

static inline void sentinels_tear_down(void)
{
    gavel__sentinels_finish(&sentinels);
    gavel__buffer_finish(&out);
}

/* ---- Replies ------------------------------------------------------------------------------- */

static inline gavel_reply string(const char *text)
{
    return (gavel_reply){.type = GAVEL_REPLY_STRING, .text = gavel_str(text)};
}

static inline gavel_reply array(const gavel_reply *elements, size_t n)
{
    return (gavel_reply){.type = GAVEL_REPLY_ARRAY, .elements = elements, .n_elements = n};
}

static inline void hand(uint32_t i, gavel_reply reply)
{
    gavel__sentinels_on_reply(&sentinels, i, &reply, now);
}

static inline void hand_id(uint32_t i)
{
    char id[41];
    snprintf(id, sizeof(id), "%040d", (int)i);
    hand(i, string(id));
}

static inline void hand_master(uint32_t i, const words *said)
{
    char port[16];
    char epoch[16];
    char down_after[16];
    char ping[16];
    snprintf(port, sizeof(port), "%d", said->was != 0 ? said->was : said->port);
    snprintf(ping, sizeof(ping), "%d", said->ping_ms);
    snprintf(epoch, sizeof(epoch), "%d", said->epoch);
    snprintf(down_after, sizeof(down_after), "%d", DOWN_AFTER_MS);
    const gavel_reply fields[] = {string("ip"), string("h"), string("port"), string(port),
        string("flags"), string(said->flags != NULL ? said->flags : "master"),
        string("config-epoch"), string(epoch), string("num-other-sentinels"), string("2"),
        string("down-after-milliseconds"),
        string(said->down_after != NULL ? said->down_after : down_after), string("last-ping-sent"),
        string(said->ping != NULL ? said->ping : ping), string("num-slaves"),
        string(said->n_replicas != NULL ? said->n_replicas : "2"), string("failover-state"),
        string(said->state)};
    size_t n = sizeof(fields) / sizeof(fields[0]);
    hand(i, array(fields, said->state != NULL ? n : n - 2));
}

static inline void hand_address(uint32_t i, int to_port)
{
    char port[16];
    snprintf(port, sizeof(port), "%d", to_port);
    const gavel_reply place[] = {string("h"), string(port)};
    hand(i, array(place, 2));
}

static inline void hand_replicas(uint32_t i, const words *said)
{
    char port[16];
    snprintf(port, sizeof(port), "%d", said->promoted);
    const gavel_reply other[] = {
        string("ip"), string("h"), string("port"), string("1"), string("flags"), string("slave")};
    const gavel_reply chosen[] = {string("ip"), string("h"), string("port"), string(port),
        string("flags"), string("slave,promoted")};
    const gavel_reply replicas[] = {array(other, 6), array(chosen, 6)};
    hand(i, array(replicas, said->promoted != 0 ? 2 : 1));
}

static inline void hand_others(uint32_t i)
{
    hand(i, array(NULL, 0));
}

/* Asks the i-th, and answers like this, at once. */
static inline void answer(uint32_t i, words said)
{
    bool is_new = !sentinels.all[i].is_identified;
    bool is_to_name_others = sentinels.all[i].list_us <= now;
    bool leads = sentinels.all[i].has_testimony && (sentinels.all[i].testimony.is_failing_over ||
                                                       sentinels.all[i].testimony.is_tilted);
    sentinels.all[i].ask_us = now;
    gavel__sentinels_ask(&sentinels, i, &out, now);
    gavel__buffer_clear(&out);
    gavel_reply nobody = {
        .type = GAVEL_REPLY_ERROR, .text = GAVEL_STR("ERR No such master with that name")};
    if (is_new)
        hand_id(i);
    if (said.port != 0) {
        hand_master(i, &said);
        hand_address(i, said.port);
    } else {
        hand(i, nobody);
        hand(i, (gavel_reply){.type = GAVEL_REPLY_NIL});
    }
    if (leads)
        hand(i, string(said.is_tilted ? "# Sentinel\r\nsentinel_masters:1\r\nsentinel_tilt:1\r\n"
                                      : "# Sentinel\r\nsentinel_masters:1\r\nsentinel_tilt:0\r\n"));
    if (leads && sentinels.is_eager)
        hand_replicas(i, &said);
    if (is_to_name_others)
        hand_others(i);
    cr_assert_eq(sentinels.all[i].n_awaited, 0);
}

static inline void all_answer(words said)
{
    for (uint32_t i = 0; i < N; i++)
        answer(i, said);
}

/* The link to the i-th. */
static inline void lose(uint32_t i, const char *message, bool is_final)
{
    gavel__sentinels_on_loss(
        &sentinels, i, &(gavel__sentinel_loss){.message = message, .is_final = is_final}, now);
}

static inline bool is_trusted(void)
{
    return sentinels.trusted_until_us > now;
}

#endif

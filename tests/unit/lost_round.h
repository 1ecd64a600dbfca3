/*
 * For the tests of what follows a conflict: a round of two that loses its EXEC, and how hot its
 * keys are then.
 */
#ifndef LOST_ROUND_H
#define LOST_ROUND_H

#include "stage.h"

static inline gavel__key *key_at(stage *s, const char *name)
{
    gavel__key_name key = gavel__keys_name(&s->engine.queue.keys, gavel_str(name));
    return gavel__keys_find(&s->engine.queue.keys, key);
}

/* What is known of a key's heat, in halves; a key that is forgotten is cold. */
static inline int heat_of(stage *s, const char *name)
{
    const gavel__key *key = key_at(s, name);
    return key != NULL ? (int)(key->heat.level * 2) : 0;
}

static inline actor adder(const char *key)
{
    static const char *const plays[] = {"ADD a 1", "ADD b 1", "ADD c 1"};
    return (actor){.reads = key, .plays = plays[key[0] - 'a']};
}

/* Two on a key each, up to an EXEC that was lost to somebody else. */
static inline void lose(stage *s, actor *a, actor *b)
{
    *a = adder("a");
    *b = adder("b");
    enter(s, a);
    enter(s, b);
    link_up(s, 0);
    hears(s, 0, "WATCH a b / GET a / GET b");
    says(s, 0, "OK, \"1\", \"1\"");
    hears(s, 0, "MULTI / MSET a 2 b 2 / EXEC");
    says(s, 0, "OK, QUEUED, nil");
    s->engine.policy.prefetch_credit = 0; /* the conflict has restored it */
}

#endif

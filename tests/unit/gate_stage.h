/*
 * A stage with gates: an engine whose last lanes pass through gates. Its own records, which are
 * drawn at random, are written ME in what the peer hears:
 *
 *     hears_gates(&s, 1, "LPOP g:queue:{a} / SET g:gate:{a} ME PX 500 NX / WATCH a / GET a");
 */
#ifndef GATE_STAGE_H
#define GATE_STAGE_H

#include "stage.h"

#define LEASE_US INT64_C(500000)

/* What a gate lane says for a transaction that reads "a", and what grants it a wait. */
#define ENTER_A "LPOP g:queue:{a} / SET g:gate:{a} ME PX 500 NX / "
#define NAME_A "CLIENT SETNAME wait:g:gate:{a} / " /* once, before the first wait for it */
#define WAIT_A "BLPOP g:queue:{a} 0 / SET g:gate:{a} ME PX 500 / "
#define READ_A "WATCH a / GET a"
#define HAND_OFF_A "RPUSH g:queue:{a} mine / PEXPIRE g:queue:{a} 500"
#define GRANTED_A "[\"g:queue:{a}\", \"1\"], OK, "

typedef struct gate_config {
    stage_config stage;         /* its n_lanes: the ordinary ones; 0: 1 */
    uint32_t n_gate_lanes;      /* 0: 1. They come behind the ordinary ones */
    bool is_adaptive;           /* else every write passes through gates */
    bool has_returning_callers; /* outcomes are told by callbacks */
} gate_config;

/* As stage_open; stage_close closes it. */
void gate_stage_open(stage *s, const gate_config *config);

/* Opens it with one lane of each kind, lets the actor in, and connects the gate lane. */
void begin_gated(stage *s, actor *a);

/* The same with an actor that adds one to "a", whose claim is heard; and with one that has found
 * the gate taken, and waits: BLPOP is to be answered next. */
void begin_entering(stage *s, actor *a);
void begin_waiting(stage *s, actor *a);

/* An actor that adds one to "a". */
actor an_adder(void);

/* As stage_hears, for lanes that talk of gates. */
void gate_stage_hears(stage *s, uint32_t lane, const char *commands, int line);

/* Where the pass of the first gate lane, which is lane 1, stands. */
gavel__pass_state pass_of(const stage *s);

/* The gate of a key, which must be known. */
gavel__gate *gate_of(stage *s, const char *key);

/* Says what GET of the key's record answers if the record is ours. */
void says_ours(stage *s, uint32_t lane, const char *key);

/* From now on there is a gate before the key, in an adaptive client. */
void put_up(stage *s, const char *key);

#define hears_gates(s, lane, commands) gate_stage_hears(s, lane, commands, __LINE__)

#endif

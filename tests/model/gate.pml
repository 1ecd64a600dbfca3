/* The gate in front of a hot data key K, for Spin.
 *
 * One STEP is one command on the server, so commands of different connections meet in every order;
 * a pipeline is no more than its commands in their order. Only MULTI ... EXEC is one step with all
 * that was queued. The protocol, of R, the record, and L, the list of tokens, one like the other:
 *
 *     enter     LPOP L ; SET R me PX lease NX ; WATCH K ; GET K
 *               a token or OK: held. Else: wait
 *     wait      BLPOP L 0 ; SET R me PX lease ; WATCH K ; GET K
 *               also at once, by who has seen within half a lease that the gate is taken
 *     name      SET R me PX lease                          before MULTI, with a token but no OK
 *     keep      MULTI ; SET K v ; EXEC ; WATCH K ; GET K   others here want the gate, too
 *     hand off   MULTI ; SET K v ; RPUSH L 1 ; PEXPIRE L lease ; EXEC
 *               RPUSH L 1 ; PEXPIRE L lease                with nothing to commit; or elsewhere,
 *                                                          if the link was lost and that EXEC was
 *                                                          not made
 *               nothing                                    if it is late, or a spurious one
 *     check     GET R ; WATCH K ; GET K                    after nil; R is not mine: a spurious one
 *     repair    SET R x PX lease NX ; PTTL R               by a waiter's timer, elsewhere
 *               OK: RPUSH L 1 ; PEXPIRE L lease            -1: PEXPIRE R lease
 *
 * `me` and `x` are drawn anew for each command. A line is what hands itself on: a token that lies
 * in L or was popped, a holder who will hand off, a repair between its writes. Usually it is one.
 *
 * README.md has the options, the properties, and what is left out. */

#ifndef N
#define N 2 /* workers: 2 or 3 */
#endif
#ifndef ROUNDS
#define ROUNDS 0 /* commits of each worker; 0: without end, and then K has no value */
#endif
#ifndef FAULTS
#define FAULTS 0 /* how many things go wrong, or ANY: no bound */
#endif
#ifndef FOREIGN
#define FOREIGN 0 /* writes to K by one who knows no gate, each a single command */
#endif
#ifndef OPTIMISTIC
#define OPTIMISTIC 0 /* commits to K by one who knows no gate, under WATCH */
#endif
#ifndef ROOM
#define ROOM 3 /* the most tokens in L */
#endif

#define ANY 255
#define MOST 3      /* the largest N */
#define OPTIMIST 3  /* has an id, too */
#define NOTHING 0
#define OTHER 4     /* in R: a name that nobody takes for his own */
#define name_of(id) ((id) + 1)

#if FAULTS == ANY
#define FAULT true
#define NO_REPAIR /* trouble() does to R and L whatever time() and timer() do */
#define NO_TIME
#elif FAULTS == 0
#define FAULT false
#else
#define FAULT atomic { faults > 0 -> faults-- }
#endif

#define STEP d_step

/* ---- On the server --------------------------------------------------------------------------- */

byte record;                    /* R: NOTHING, OTHER, or a worker's name from its last claim */
bool is_aging;                  /* half of R's lease is over */
bool is_immortal;               /* R has no lease: only by hand */
byte n_tokens;                  /* L */
chan fifo = [MOST] of { byte }; /* the workers blocked in BLPOP L, in their order */
byte value;                     /* K: the set of the commits in it */
byte watch[4];                  /* K, for each connection: */
#define UNWATCHED 0
#define UNCHANGED 1
#define CHANGED 2

/* ---- Of the workers -------------------------------------------------------------------------- */

bool has_turn[MOST];  /* it was popped; the SET behind it has not run */
bool is_holder[MOST];  /* from the grant until all is handed on or over */
bool has_line[MOST];   /* a holder who will hand off: not late, not a spurious one */
bool is_unnamed[MOST]; /* a holder who has not written its name to R yet */
bool has_seen[MOST];   /* within half a lease, that the gate is taken */
bool is_waiting[MOST]; /* from BLPOP until its grant */
bool is_repairing[2];  /* a timer that has made R, and not pushed the token yet */
bool is_outnamed;      /* somebody with a line has lost an EXEC, and R does not name it */
byte faults = FAULTS;

#define of_worker(i) (has_turn[i] + has_line[i])
#define n_lines \
    (n_tokens + of_worker(0) + of_worker(1) + of_worker(2) + is_repairing[0] + is_repairing[1])

/* SET R whose PX lease */
inline set_record(whose)
{
    record = whose;
    is_aging = false;
    is_immortal = false
}

/* RPUSH L 1, for which there is no room only where it would be one too many anyway. The blocked are
 * served, in their order, once the command, or the whole EXEC, is done. */
inline push()
{
    if
    :: n_tokens < ROOM -> n_tokens++
    :: else -> skip
    fi;
    do
    :: n_tokens > 0 && len(fifo) > 0 -> n_tokens--; fifo?served; has_turn[served] = true
    :: else -> break
    od;
    served = 0
}

/* K is written: what WATCH is for. */
inline touch()
{
    watch[0] = (watch[0] -> CHANGED : UNWATCHED);
    watch[1] = (watch[1] -> CHANGED : UNWATCHED);
    watch[2] = (watch[2] -> CHANGED : UNWATCHED);
    watch[3] = (watch[3] -> CHANGED : UNWATCHED)
}

/* EXEC, which adds a commit to what was read. An update is lost when a commit vanishes from the
 * value; one is applied twice when it is already there. */
inline exec(id, commit, ret_is_made)
{
#ifdef NO_WATCH
    ret_is_made = true;
#else
    ret_is_made = watch[id] == UNCHANGED;
#endif
    watch[id] = UNWATCHED;
    if
    :: ret_is_made ->
        touch();
#if ROUNDS > 0
        assert((value & ~seen) == 0);
        assert((value & commit) == 0);
        value = seen | commit
#endif
    :: else -> skip
    fi;
    seen = 0
}

/* ---- A worker -------------------------------------------------------------------------------- */

/* A claim draws a new name; the last one is nobody's any more. */
inline draw_name()
{
    record = (record == name_of(id) -> OTHER : record)
}

inline become_holder(with_line)
{
    has_line[id] = with_line;
    has_turn[id] = false;
    is_holder[id] = true;
    is_waiting[id] = false;
#ifdef UNDISTURBED
    /* Where a lease never runs out, nobody shares the gate. */
    assert(n_lines == 1 && is_holder[0] + is_holder[1] + is_holder[2] == 1)
#endif
}

/* SET R me PX lease NX, behind LPOP */
inline enter()
{
    if
    :: record == NOTHING -> set_record(name_of(id)); become_holder(true)
    :: record != NOTHING && has_turn[id] -> is_unnamed[id] = true; become_holder(true)
    :: else -> has_seen[id] = true
    fi
}

/* BLPOP L 0 */
inline block()
{
    draw_name();
    has_seen[id] = false
}

/* RPUSH L 1 ; PEXPIRE L lease */
inline hand_off()
{
    own = has_line[id];
    is_holder[id] = false;
    has_line[id] = false;
    is_unnamed[id] = false;
    has_seen[id] = own;
    if
    :: own -> push()
    :: else -> skip
    fi;
    own = false
}

/* GET R */
inline check()
{
#ifdef TURNS
    is_outnamed = has_line[id];
#else
    is_outnamed = has_line[id] && record != name_of(id);
#endif
#ifdef CHECK_INVERTED
    has_line[id] = record != name_of(id);
#elif defined(CHECK_UNNAMED)
    has_line[id] = has_line[id] && record == name_of(id);
#elif !defined(NO_CHECK)
    has_line[id] = has_line[id] && (record == name_of(id) || is_unnamed[id]);
#endif
#ifdef UNDISTURBED
    assert(n_lines == 1) /* it is never the last that goes */
#endif
}

#define OWN_COMMIT (1 << (n_done * N + id))

/* The caller is told COMMITTED: the commit is there, and, since none ever vanishes, stays. */
inline tell()
{
#if ROUNDS > 0
    assert((value & OWN_COMMIT) != 0);
    n_done++
#else
    skip
#endif
}

/* The server finds the connection closed. What was popped for it is gone. */
inline forget()
{
    if
    :: fifo??[eval(id)] -> fifo??eval(id)
    :: else -> skip
    fi;
    has_turn[id] = false;
    is_holder[id] = false;
    has_line[id] = false;
    is_unnamed[id] = false;
    has_seen[id] = false;
    is_waiting[id] = false;
    watch[id] = UNWATCHED;
    is_made = false;
    hands_off = false;
    n_kept = 0;
    seen = 0
}

proctype worker(byte id)
{
    byte n_done, n_kept, seen, served;
    bool is_made, hands_off, own;

again:
#if ROUNDS > 0
    if
    :: n_done == ROUNDS -> has_seen[id] = false; goto over
    :: else
    fi;
#endif
    if
    :: has_seen[id] -> goto wait
    :: has_seen[id] = false
    fi;
    if                                                  /* LPOP L */
    :: STEP { n_tokens > 0 -> draw_name(); n_tokens--; has_turn[id] = true }
    :: STEP { n_tokens == 0 -> draw_name() }
    :: FAULT -> goto dead
    fi;
    if                                                  /* SET R me PX lease NX */
    :: STEP { true -> enter() }
    :: FAULT -> STEP { true -> become_holder(false) }   /* refused */
    :: FAULT -> goto dead
    fi;
    if
    :: is_holder[id] -> goto read
    :: else
    fi;

wait:
    if                                                  /* BLPOP L 0 */
    :: STEP { n_tokens > 0 -> block(); n_tokens--; has_turn[id] = true }
    :: STEP { n_tokens == 0 -> block(); fifo!id; is_waiting[id] = true }
    :: FAULT -> goto dead
    fi;
    if
    :: has_turn[id]
    :: FAULT ->                                         /* CLIENT UNBLOCK */
        STEP {
            true ->
            if
            :: fifo??[eval(id)] -> fifo??eval(id)
            :: else -> skip
            fi }
    :: FAULT -> goto dead
    :: FAULT -> goto lost
#ifdef TIMED_WAIT
    :: STEP { fifo??[eval(id)] -> fifo??eval(id); set_record(name_of(id)) }; goto wait
#endif
    fi;
    if                                                  /* SET R me PX lease */
    :: STEP { true -> set_record(name_of(id)); become_holder(has_turn[id]) }
    :: FAULT -> goto dead
    :: FAULT -> goto lost
    fi;

read:
    if                                                  /* WATCH K */
    :: STEP { true -> watch[id] = UNCHANGED; is_outnamed = false }
    :: FAULT -> goto dead
    fi;
#if ROUNDS > 0
    if                                                  /* GET K */
    :: STEP { true -> seen = value }
    :: FAULT -> goto dead
    fi;
    hands_off = n_kept == 1 || n_done + 1 == ROUNDS;
#else
    hands_off = n_kept == 1;
#endif
    if
    :: true                                             /* keeps the gate for one more round */
    :: hands_off = true
    :: goto give_up                                     /* nothing to commit */
    :: FAULT -> has_line[id] = false; hands_off = true   /* knows that it is late */
    :: FAULT -> goto orphan
    :: FAULT -> goto dead
    fi;
#ifndef NO_NAME
    if                                                  /* SET R me PX lease */
    :: STEP { is_unnamed[id] && has_line[id] -> is_unnamed[id] = false; set_record(name_of(id)) }
    :: !(is_unnamed[id] && has_line[id])
    :: FAULT -> goto dead
    fi;
#endif
#ifdef EARLY_HAND_OFF
    STEP { hands_off -> hand_off() };
#endif
    if                                                  /* MULTI ... EXEC */
    :: STEP {
           true ->
           exec(id, OWN_COMMIT, is_made);
           if
           :: is_made && hands_off -> hand_off()
           :: else -> skip
           fi }
    :: FAULT ->                                         /* the link is lost; the marker tells: */
#ifdef DOUBT_IS_SUCCESS
        is_made = true;
        goto made
#else
        if                                              /* it was not made, and never will be, */
        :: goto orphan
        :: goto lost                                    /* or nobody can ask, */
        fi
#endif
    fi;
    if
    :: true                                             /* or it was, as if answered, */
    :: FAULT -> goto dead
    :: FAULT ->
        if
#ifdef DOUBT_IS_CONFLICT
        :: goto lost
#endif
        :: is_made -> atomic { tell() }; goto orphan            /* but the gate is lost */
        :: !is_made && !hands_off -> goto orphan
        :: !is_made && hands_off -> goto orphan                  /* the marker tells, */
        :: !is_made && hands_off -> goto lost                    /* or nobody can ask */
        fi
    fi;
#ifdef UNDISTURBED
    assert(is_made || is_holder[id]);                   /* a nil EXEC has handed nothing on */
#endif
    if
    :: is_made && hands_off -> goto made
    :: is_made && !hands_off -> STEP { true -> tell(); is_made = false; n_kept++ }; goto read
    :: !is_made && !hands_off -> goto read               /* what it reads again was on its way */
    :: !is_made
    :: !is_made -> goto give_up                         /* its caller has no more time */
    fi;
    if                                                  /* GET R */
    :: STEP { true -> check() }
    :: FAULT -> goto dead
    fi;
    goto read;

made:
    atomic { tell(); is_made = false; hands_off = false; n_kept = 0 };
    goto again;

give_up:
    if                                                  /* RPUSH L 1 ; PEXPIRE L lease */
    :: STEP {
           true ->
           hand_off();
           watch[id] = UNWATCHED;
           hands_off = false;
           seen = 0;
           n_kept = 0;
#if ROUNDS > 0
           n_done++
#endif
       }
    :: FAULT -> goto dead
    fi;
    goto again;

orphan: /* its link was lost, and another one hands off; has_line is gone if EXEC has done so, or the
         * lease is over */
    if                                                  /* RPUSH L 1 ; PEXPIRE L lease */
    :: STEP { true -> hand_off() }
    :: FAULT -> goto dead
    fi;

lost: /* its link, or its patience: it comes back */
    atomic { forget() };
    goto again;

dead:
    atomic { forget() };
over:
    skip
}

/* ---- Everybody else -------------------------------------------------------------------------- */

/* Any waiter's timer. Where things go wrong there are two, since one may be slow between its
 * commands. */
proctype timer(byte t)
{
    byte served;
end:
    do
    :: STEP { nempty(fifo) && record == NOTHING -> set_record(OTHER); is_repairing[t] = true };
        if
        :: STEP { true -> is_repairing[t] = false; push() }
        :: FAULT -> is_repairing[t] = false
        fi
#ifndef NO_LEASE_CHECK
    :: nempty(fifo) && is_immortal ->                   /* PTTL R */
        if
        :: STEP { true -> is_aging = false; is_immortal = false }       /* PEXPIRE R lease */
        :: FAULT
        fi
#endif
    od
}

#define names(i) (record == name_of(i) && is_holder[i])
#define is_named (names(0) || names(1) || names(2))

/* Some named holder: then no lease has passed since its grant. */
#define is_named_holder(i) (is_holder[i] && !is_unnamed[i])
#define is_busy (is_named_holder(0) || is_named_holder(1) || is_named_holder(2))

/* A holder who is late by its own clock has no line any more. */
inline overrun(i)
{
#ifndef HAND_OFF_LATE
    has_line[i] = false
#else
    skip
#endif
}

/* Somebody is about to wait, on the strength of having seen the gate taken half a lease ago. */
#define is_relied_on (has_seen[0] || has_seen[1] || has_seen[2])

#define is_forlorn (record != NOTHING && !is_immortal && n_lines == 0)

/* R runs out when there is no line any more; before that only as a fault, or as below. It takes two
 * steps, and whoever writes R between them starts them anew. */
proctype time()
{
end:
    do
    :: d_step { is_forlorn && !is_aging -> is_aging = true }
    :: d_step { is_forlorn && is_aging -> set_record(NOTHING) }
#ifdef IDLE
    /* Nobody comes for a while. L lives longer than R, unless R was written since. */
    :: d_step { record != NOTHING && !is_busy -> set_record(NOTHING) }
    :: d_step { n_tokens > 0 && (record == NOTHING || is_named) && !is_relied_on -> n_tokens = 0 }
#endif
#ifdef OVERRUN
    /* The holder takes longer than the lease, each time. */
    :: d_step { names(0) -> set_record(NOTHING); overrun(0) }
    :: d_step { names(1) -> set_record(NOTHING); overrun(1) }
    :: d_step { names(2) -> set_record(NOTHING); overrun(2) }
    :: n_lines > 1 -> assert(false)
#endif
#if defined(UNDISTURBED) || defined(IDLE)
    :: nempty(fifo) && n_lines == 0 -> assert(false)    /* somebody has to wait for a lease */
#endif
    od
}

/* What happens to the gate, at any moment, as often as faults allows or less often. */
proctype trouble()
{
    byte served;
end:
    do
    :: FAULT -> set_record(NOTHING)                     /* expired early, or deleted */
    :: FAULT -> set_record(OTHER)                       /* overwritten */
    :: FAULT -> STEP { true -> set_record(OTHER); is_immortal = true }
    :: FAULT -> n_tokens = 0                            /* expired, or deleted */
    :: FAULT -> STEP { true -> set_record(NOTHING); n_tokens = 0 }      /* FLUSHALL */
    :: FAULT -> STEP { true -> push() }                 /* by hand, or brought back by a failover */
#if FAULTS != ANY
    :: faults > 0 -> faults = 0                         /* nothing more */
#endif
    od
}

#define FOREIGN_COMMIT(n) (1 << (N * ROUNDS + (n)))

/* Writes K by single commands: knows neither gate nor WATCH. */
proctype foreigner()
{
    byte n;
    do
    :: n < FOREIGN -> d_step { value = value | FOREIGN_COMMIT(n); touch(); n++ }
    :: else -> break
    od
}

/* Commits under WATCH, as the workers do, and knows no gate. */
proctype optimist()
{
    byte n, seen;
    bool is_made;
    do
    :: n < OPTIMISTIC ->
        d_step { true -> watch[OPTIMIST] = UNCHANGED };
        d_step { true -> seen = value };
        d_step {
            true ->
            exec(OPTIMIST, FOREIGN_COMMIT(FOREIGN + n), is_made);
            n = n + is_made;
            is_made = false
        }
    :: else -> break
    od
}

init
{
    atomic {
        run worker(0);
        run worker(1);
#if N > 2
        run worker(2);
#endif
#ifndef NO_REPAIR
        run timer(0);
#if FAULTS > 0
        run timer(1);
#endif
#endif
#ifndef NO_TIME
        run time();
#endif
#if FAULTS > 0
        run trouble();
#endif
#if FOREIGN > 0
        run foreigner();
#endif
#if OPTIMISTIC > 0
        run optimist();
#endif
    }
}

/* A live waiter is granted; the workers are alike. */
ltl served { [] (is_waiting[0] -> <> !is_waiting[0]) }

/* In the end there is one line at most, if again and again an EXEC is lost by somebody whom R does
 * not name. That it is lost at all is, with TURNS, not enough. */
ltl single { ([] <> is_outnamed) -> <> [] (n_lines <= 1) }

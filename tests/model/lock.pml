/* The lock for users, for Spin. It differs from the gate where the grant itself matters: what
 * changes R, the record, are scripts, so each is one step, and R is only ever changed by its owner,
 * or when it is absent or says that the lock is handed off. R is absent, "- TURN" of a lock that is
 * handed off, or an owner; L is the list that those who wait are blocked on. The scripts:
 *
 *     offer      R is absent: HAND OFF under our turn
 *     take turn  R is mine: PEXPIRE R lease                                       granted
 *                no turn, but R is "- ...": it is LPOP L
 *                a turn, and R is absent or "- turn": SET R me PX lease          granted
 *                else                                                             busy
 *     release    R is mine: HAND OFF under our turn; else nothing
 *     hand off   R is "- turn": HAND OFF under the same turn; else nothing
 *     HAND OFF   SET R "- turn" PX 1000 ; DEL L ; RPUSH L turn ; PEXPIRE L 1000
 *
 * and who wants the lock:
 *
 *     probe      offer ; take, without a turn
 *     wait       BLPOP L 0 on another connection; and probes now and then
 *     take       take turn, with what BLPOP has brought
 *
 * A client counts a lease on its own clock, from before it sent the probe or the take that began it.
 * If that is over when the answer comes, or the answer is lost, it asks again. */

#ifndef N
#define N 2 /* workers: 2 or 3 */
#endif
#ifndef ROUNDS
#define ROUNDS 0 /* how often each worker wants the lock; 0: without end */
#endif
#ifndef FAULTS
#define FAULTS 0 /* how many things go wrong, or ANY: no bound */
#endif
#ifndef ROOM
#define ROOM 2 /* the most turns in L */
#endif

#define ANY 255
#define MOST 3    /* the largest N */
#define NOTHING 0 /* no R, no turn */
#define JUNK 4    /* a turn that somebody pushed by hand */
#define turn_of(i) ((i) + 1)
#define handed_off(a_turn) (a_turn)
#define owned_by(i) ((i) + 5)

#if FAULTS == ANY
#define FAULT true
#elif FAULTS == 0
#define FAULT false
#else
#define FAULT atomic { faults > 0 -> faults-- }
#endif

/* ---- On the server --------------------------------------------------------------------------- */

byte record;                    /* R */
chan turns = [ROOM] of { byte };  /* L */
chan fifo = [MOST] of { byte }; /* the workers blocked in BLPOP L, in their order */

/* ---- Of the workers -------------------------------------------------------------------------- */

byte got[MOST];        /* the turn that BLPOP has brought */
bool is_running[MOST]; /* the lease that it counts on its own clock is not over */
bool is_covered[MOST]; /* the server began R's lease after that clock was started */
bool holds[MOST];      /* believes that it has the lock */
bool is_waiting[MOST]; /* from its first BLPOP until it holds */
bool is_using[MOST];   /* is alive, and has R, or will hear that it has, or releases it */
byte faults = FAULTS;

/* Those who blocked and are not granted yet, in order: against it FIFO is checked. */
chan order = [MOST] of { byte };

#define n_holders (holds[0] + holds[1] + holds[2])
#define is_handed_off (record != NOTHING && record < owned_by(0))
#define is_carried (len(turns) > 0 || got[0] || got[1] || got[2])

/* RPUSH L turn, and the server wakes those who are blocked. */
inline push(a_turn)
{
    if
    :: nfull(turns) -> turns!a_turn
    :: full(turns) -> skip
    fi;
    do
    :: len(turns) > 0 && len(fifo) > 0 -> fifo?served; turns?got[served]
    :: else -> break
    od;
    served = 0
}

inline clear_turns()
{
    do
    :: nempty(turns) -> turns?_
    :: empty(turns) -> break
    od;
    skip /* Spin wants no d_step to end with a loop */
}

inline hand_off(a_turn)
{
    record = handed_off(a_turn);
    clear_turns();
#ifndef NO_WAKING
    push(a_turn)
#endif
}

inline offer()
{
    if
    :: record == NOTHING -> hand_off(turn_of(id))
    :: else -> skip
    fi
}

inline leave_order()
{
    if
    :: order??[eval(id)] -> order??eval(id)
    :: else -> skip
    fi
}

/* Granted in the order of waiting, and a newcomer only when nobody waits. */
inline check_order()
{
#ifdef UNDISTURBED
    assert(empty(order) || order?[eval(id)]);
    leave_order()
#else
    skip
#endif
}

/* take, with what is in `with`, which is used up. */
inline take(with)
{
    if
#ifdef OVERTAKING
    :: with == NOTHING && is_handed_off && record != owned_by(id) -> with = record
#else
    :: with == NOTHING && is_handed_off && len(turns) > 0 -> turns?with
#endif
    :: else -> skip
    fi;
    if
    :: record == owned_by(id) ||
       (with != NOTHING && (record == NOTHING || record == handed_off(with))) ->
        record = owned_by(id);
        is_using[id] = true;
        is_covered[id] = true;
        check_order()
    :: else -> is_using[id] = false; is_running[id] = false
    fi;
    with = NOTHING
}

inline release()
{
    if
#ifdef RELEASE_BLINDLY
    :: true -> hand_off(turn_of(id))
#else
    :: record == owned_by(id) -> hand_off(turn_of(id))
    :: else -> skip
#endif
    fi
}

inline hand_back()
{
    if
    :: record == handed_off(got[id]) -> handed = got[id]; hand_off(handed)
    :: else -> skip
    fi;
    got[id] = NOTHING;
    handed = NOTHING
}

/* ---- A worker -------------------------------------------------------------------------------- */

inline queue()
{
#ifdef UNDISTURBED
    order!id
#else
    skip
#endif
}

/* The clock of a lease that is about to be asked for; until then R is as good as it was. */
inline start_clock()
{
    is_running[id] = true;
    is_covered[id] = false
}

inline hold()
{
    holds[id] = true;
    assert(n_holders == 1)
}

/* The connection that waits is closed, and what was on its way to it is gone. */
inline unblock()
{
    if
    :: fifo??[eval(id)] -> fifo??eval(id)
    :: else -> skip
    fi;
    got[id] = NOTHING;
    is_waiting[id] = false
}

inline forget()
{
    unblock();
    leave_order();
    is_running[id] = false;
    is_covered[id] = false;
    is_using[id] = false;
    holds[id] = false
}

/* BLPOP has been sent, and its answer not been used. */
#define is_blocked (fifo??[eval(id)] || got[id] != NOTHING)

proctype worker(byte id)
{
    byte n_done, served, with, handed;

again:
#if ROUNDS > 0
    if
    :: n_done == ROUNDS -> goto over
    :: else -> n_done++
    fi;
#endif

probe:
    atomic { start_clock() };
    if
    :: d_step { true -> offer(); skip }
    :: FAULT -> goto dead
    fi;
    if
    :: d_step { true -> take(with) }
    :: FAULT -> goto dead
    fi;
    if
    :: is_using[id] -> goto judge
    :: else
    fi;

wait:
    if
    :: d_step {                                         /* BLPOP L 0 */
           !is_blocked ->
           is_waiting[id] = true;
           queue();
           if
           :: len(turns) > 0 -> turns?got[id]
           :: else -> fifo!id
           fi }
    :: is_blocked
    :: FAULT -> goto dead
    fi;
    if
    :: got[id] != NOTHING
#ifdef NO_REPAIR
#elif defined(UNDISTURBED)
    /* Asks as often as it likes would: with the same outcome. */
    :: d_step {
           fifo??[eval(id)] && got[id] == NOTHING ->
           assert(record != NOTHING && (!is_handed_off || is_carried)) };
       goto wait
#else
    :: fifo??[eval(id)] -> goto probe
#endif
    :: FAULT -> goto dead
    :: FAULT -> atomic { unblock() }; goto probe          /* loses the connection that waits */
    fi;
    if
    :: true
    :: goto give_up
    :: FAULT -> goto dead
    fi;
    atomic { start_clock() };
    if
    :: d_step { true -> with = got[id]; got[id] = NOTHING; take(with) }             /* take */
    :: FAULT -> goto dead
    fi;
    if
    :: is_using[id]
    :: else -> goto wait
    fi;

judge:
#ifdef LEASE_FROM_ANSWER
    is_running[id] = true;
#endif
    if
    :: is_running[id]
    :: !is_running[id] -> goto probe                      /* it is over already */
    :: FAULT -> is_running[id] = false; goto probe        /* the answer is lost */
    :: FAULT -> is_running[id] = false; goto end_it     /* and nobody wants it any more */
    :: FAULT -> goto dead
    fi;
    atomic {
        if
        :: is_running[id] -> unblock(); hold()
        :: else -> goto probe
        fi
    };
    if
    :: true
    :: FAULT -> goto dead
    fi;

end_it:
    atomic { unblock(); holds[id] = false; is_running[id] = false };
    do
    :: d_step { true -> release(); is_using[id] = false }; break
    :: FAULT -> d_step { true -> release(); skip }      /* the answer is lost: it says so again */
    :: FAULT -> goto dead
    od;
    atomic { forget() };
    goto again;

give_up: /* its caller has no more time, but it has been given the lock */
    if
    :: d_step { true -> leave_order(); hand_back(); skip }
    :: FAULT -> goto dead
    fi;
    atomic { forget() };
    goto again;

dead:
    atomic { forget() };
over:
    skip
}

/* ---- Everybody else -------------------------------------------------------------------------- */

#define may_expire(i) (record == owned_by(i) && !(is_running[i] && is_covered[i]))
#define is_dead(i) (record == owned_by(i) && !is_using[i])

/* R runs out of itself when its owner is dead, or the turn of a lock that is handed off is lost; or,
 * in the end, if nobody comes for it. */
proctype time()
{
end:
    do
    :: d_step {
           is_dead(0) || is_dead(1) || is_dead(2) || (is_handed_off && !is_carried) ->
           record = NOTHING;
#ifdef UNDISTURBED
           assert(false)                                /* somebody had to wait for a lease */
#endif
       }
    od
}

/* Sooner than that only as a fault: then everybody's own clock has told him before. */
proctype trouble()
{
    byte served;
end:
    do
    :: FAULT ->
        atomic {
            if
            :: is_running[0] -> is_running[0] = false; holds[0] = false
            :: is_running[1] -> is_running[1] = false; holds[1] = false
            :: is_running[2] -> is_running[2] = false; holds[2] = false
            :: else -> skip
            fi
        }
    :: FAULT ->
        d_step {
            true ->
            if
            :: may_expire(0) || may_expire(1) || may_expire(2) || is_handed_off -> record = NOTHING
            :: else -> skip
            fi
        }
    :: FAULT -> d_step { true -> clear_turns() }          /* expired, or deleted */
    :: FAULT -> d_step { true -> push(JUNK); skip }     /* by hand */
#if FAULTS != ANY
    :: faults > 0 -> faults = 0
#endif
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
        run time();
#if FAULTS > 0
        run trouble();
#endif
    }
}

/* A live waiter is granted, or gives up; the workers are alike. */
ltl served { [] (is_waiting[0] -> <> !is_waiting[0]) }

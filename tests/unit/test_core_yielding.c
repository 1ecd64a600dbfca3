/*
 * Yielding: who writes a key blindly lets those of this client be done first who read it and have
 * lost attempts, and they let a blind write be done that is under way. With the test as the server.
 */
#include "gate_stage.h"

#include <criterion/criterion.h>

static const stage_config two = {.n_lanes = 2, .has_no_prefetch = true};

/* A reader of `a` has lost an attempt, and reads once more on the first lane. */
static void lose(stage *s, actor *reader)
{
    stage_open(s, &two);
    *reader = (actor){.reads = "a", .plays = "ADD a 1"};
    enter(s, reader);
    link_up(s, 0);
    hears(s, 0, "WATCH a / GET a");
    says(s, 0, "OK, \"1\"");
    hears(s, 0, "MULTI / SET a 2 / EXEC");
    says(s, 0, "OK, QUEUED, nil");
    s->engine.policy.prefetch_credit = 0;
    advance(s, 0);
    hears(s, 0, "WATCH a / GET a");
}

static void commit(stage *s, uint32_t lane, actor *a, const char *exec)
{
    hears(s, lane, exec);
    says(s, lane, "OK, QUEUED, [:1]");
    ends(s, a, GAVEL_COMMITTED);
}

static void commit_reader(stage *s, actor *reader)
{
    says(s, 0, "OK, \"5\"");
    hears(s, 0, "MULTI / SET a 6 / EXEC");
    says(s, 0, "OK, QUEUED, [OK]");
    ends(s, reader, GAVEL_COMMITTED);
}

Test(core_yielding, a_blind_write_lets_a_loser_be_done_first)
{
    stage s;
    actor reader;
    actor blind = {.plays = "COUNT a 1"};
    lose(&s, &reader);
    enter(&s, &blind);
    link_up(&s, 1);
    hears_nothing(&s, 1);
    is_in(&s, &blind, GAVEL__TX_PAUSED);
    commit_reader(&s, &reader);
    cr_assert_eq(reader.outcome.n_attempts, 2);
    commit(&s, 0, &blind, "MULTI / INCRBY a 1 / EXEC");
    cr_assert_eq(blind.outcome.n_attempts, 1);
    cr_assert_eq(blind.outcome.n_round_trips, 1);
    stage_close(&s);
}

/* It has asked for the key in the same run: it stands in its line as soon as it is woken. */
Test(core_yielding, one_that_reads_it_as_well_is_not_forgotten)
{
    stage s;
    actor reader;
    actor both = {.plays = "SET a 9; GET a"};
    lose(&s, &reader);
    enter(&s, &both);
    link_up(&s, 1);
    is_in(&s, &both, GAVEL__TX_PAUSED);
    commit_reader(&s, &reader);
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"6\"");
    hears(&s, 0, "MULTI / SET a 9 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &both, GAVEL_COMMITTED);
    stage_close(&s);
}

/* So does one that has keys of its own, which others may have meanwhile. */
Test(core_yielding, one_with_other_keys_keeps_nobody_from_these)
{
    stage s;
    actor reader;
    actor mixed = {.keys = "b", .plays = "COUNT a 1"};
    actor other = {.keys = "b", .plays = "SET b 1"};
    lose(&s, &reader);
    enter(&s, &mixed);
    link_up(&s, 1);
    hears(&s, 1, "WATCH b");
    says(&s, 1, "OK");
    is_in(&s, &mixed, GAVEL__TX_PAUSED);
    enter(&s, &other);
    hears(&s, 1, "UNWATCH / WATCH b");
    says(&s, 1, "OK, OK");
    hears(&s, 1, "MULTI / SET b 1 / EXEC");
    says(&s, 1, "OK, QUEUED, [OK]");
    ends(&s, &other, GAVEL_COMMITTED);
    commit_reader(&s, &reader);
    hears(&s, 0, "WATCH b");
    says(&s, 0, "OK");
    commit(&s, 0, &mixed, "MULTI / INCRBY a 1 / EXEC");
    stage_close(&s);
}

Test(core_yielding, a_key_that_nobody_has_lost_is_written_at_once)
{
    stage s;
    stage_open(&s, &two);
    actor reader = {.reads = "a", .plays = "ADD a 1"};
    actor blind = {.plays = "COUNT a 1"};
    enter(&s, &reader);
    link_up(&s, 0);
    hears(&s, 0, "WATCH a / GET a");
    enter(&s, &blind);
    link_up(&s, 1);
    commit(&s, 1, &blind, "MULTI / INCRBY a 1 / EXEC");
    says(&s, 0, "OK, \"1\"");
    hears(&s, 0, "MULTI / SET a 2 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &reader, GAVEL_COMMITTED);
    stage_close(&s);
}

/* Whoever reads it would lose; others who only write it need not wait. */
Test(core_yielding, who_reads_the_key_waits_for_a_blind_write_under_way)
{
    stage s;
    actor reader, next = {.reads = "a", .plays = "ADD a 1"};
    actor blind[2] = {{.plays = "COUNT a 1"}, {.plays = "COUNT a 2"}};
    lose(&s, &reader);
    commit_reader(&s, &reader);
    enter(&s, &blind[0]);
    hears(&s, 0, "MULTI / INCRBY a 1 / EXEC");
    enter(&s, &blind[1]);
    link_up(&s, 1);
    hears(&s, 1, "MULTI / INCRBY a 2 / EXEC");
    enter(&s, &next);
    is_in(&s, &next, GAVEL__TX_PARKED);
    says(&s, 0, "OK, QUEUED, [:1]");
    is_in(&s, &next, GAVEL__TX_PARKED);
    says(&s, 1, "OK, QUEUED, [:3]");
    hears(&s, 0, "WATCH a / GET a");
    says(&s, 0, "OK, \"3\"");
    hears(&s, 0, "MULTI / SET a 4 / EXEC");
    says(&s, 0, "OK, QUEUED, [OK]");
    ends(&s, &next, GAVEL_COMMITTED);
    stage_close(&s);
}

/* Nor do they go on one after another while somebody waits. */
Test(core_yielding, a_blind_write_lets_those_go_first_who_wait_for_others)
{
    stage s;
    actor reader, next = {.reads = "a", .plays = "ADD a 1"};
    actor blind[2] = {{.plays = "COUNT a 1"}, {.plays = "COUNT a 2"}};
    lose(&s, &reader);
    commit_reader(&s, &reader);
    enter(&s, &blind[0]);
    hears(&s, 0, "MULTI / INCRBY a 1 / EXEC");
    enter(&s, &next);
    enter(&s, &blind[1]);
    link_up(&s, 1);
    hears_nothing(&s, 1);
    is_in(&s, &blind[1], GAVEL__TX_PAUSED);
    says(&s, 0, "OK, QUEUED, [:1]");
    hears(&s, 0, "WATCH a / GET a");
    is_in(&s, &blind[1], GAVEL__TX_PAUSED);
    commit_reader(&s, &next);
    commit(&s, 0, &blind[1], "MULTI / INCRBY a 2 / EXEC");
    stage_close(&s);
}

/* Others' writes may make the reader lose for ever. */
Test(core_yielding, it_goes_on_when_the_round_has_lost)
{
    stage s;
    actor reader;
    actor blind = {.plays = "COUNT a 1"};
    lose(&s, &reader);
    enter(&s, &blind);
    link_up(&s, 1);
    says(&s, 0, "OK, \"5\"");
    hears(&s, 0, "MULTI / SET a 6 / EXEC");
    hears_nothing(&s, 1);
    says(&s, 0, "OK, QUEUED, nil");
    commit(&s, 0, &blind, "MULTI / INCRBY a 1 / EXEC");
    stage_close(&s);
}

/* Rounds on the key may follow one another without an end. */
Test(core_yielding, it_waits_for_a_few_rounds_only)
{
    stage s;
    actor readers[GAVEL__MAX_YIELDS + 2];
    actor blind = {.plays = "COUNT a 1"};
    lose(&s, &readers[0]);
    for (size_t i = 1; i < GAVEL__MAX_YIELDS + 2; i++) {
        readers[i] = (actor){.reads = "a", .plays = "ADD a 1", .request = {.is_solo = true}};
        enter(&s, &readers[i]);
    }
    enter(&s, &blind);
    link_up(&s, 1);
    says(&s, 0, "OK, \"5\"");
    for (size_t i = 0; i < GAVEL__MAX_YIELDS; i++) {
        hears(&s, 0, "MULTI / SET a 6 / EXEC / WATCH a / GET a");
        hears_nothing(&s, 1);
        says(&s, 0, "OK, QUEUED, [OK], OK, \"5\"");
        ends(&s, &readers[i], GAVEL_COMMITTED);
    }
    commit(&s, 1, &blind, "MULTI / INCRBY a 1 / EXEC");
    stage_close(&s);
}

Test(core_yielding, it_goes_on_when_the_rounds_link_is_silent_or_lost)
{
    for (int is_lost = 0; is_lost < 2; is_lost++) {
        stage s;
        actor reader;
        actor blind = {.plays = "COUNT a 1"};
        lose(&s, &reader);
        says(&s, 0, "OK, \"5\"");
        hears(&s, 0, "MULTI / SET a 6 / EXEC");
        enter(&s, &blind);
        link_up(&s, 1);
        is_in(&s, &blind, GAVEL__TX_PAUSED);
        if (is_lost)
            link_down(&s, 0);
        else
            sleeps(&s);
        advance(&s, 0);
        commit(&s, 1, &blind, "MULTI / INCRBY a 1 / EXEC");
        stage_close(&s);
    }
}

/* A gate may take as long as others like. */
Test(core_yielding, it_does_not_wait_for_a_gate)
{
    stage s;
    gate_stage_open(&s, &(gate_config){.n_gate_lanes = 1});
    actor reader = an_adder();
    actor blind[2] = {{.plays = "COUNT a 1"}, {.plays = "COUNT a 2"}};
    begin_waiting(&s, &reader);
    gavel__heat_on_conflict(&reader.transaction->holds[0].known->heat, s.now_us);
    enter(&s, &blind[0]);
    link_up(&s, 0);
    hears_nothing(&s, 0);
    is_in(&s, &blind[0], GAVEL__TX_PAUSED);
    sleeps(&s);
    commit(&s, 0, &blind[0], "MULTI / INCRBY a 1 / EXEC");
    enter(&s, &blind[1]);
    commit(&s, 0, &blind[1], "MULTI / INCRBY a 2 / EXEC");
    stage_close(&s);
}

Test(core_yielding, who_reads_the_key_waits_for_no_silent_link)
{
    stage s;
    actor reader, next = {.reads = "a", .plays = "ADD a 1"};
    actor blind = {.plays = "COUNT a 1"};
    lose(&s, &reader);
    commit_reader(&s, &reader);
    enter(&s, &blind);
    hears(&s, 0, "MULTI / INCRBY a 1 / EXEC");
    enter(&s, &next);
    is_in(&s, &next, GAVEL__TX_PARKED);
    sleeps(&s);
    link_up(&s, 1);
    hears(&s, 1, "WATCH a / GET a");
    stage_close(&s);
}

Test(core_yielding, one_that_yields_can_be_cancelled_and_has_its_deadline)
{
    for (int is_cancelled = 0; is_cancelled < 2; is_cancelled++) {
        stage s;
        actor reader;
        actor blind = {.plays = "COUNT a 1", .request = {.deadline_ms = 1}};
        lose(&s, &reader);
        enter(&s, &blind);
        link_up(&s, 1);
        is_in(&s, &blind, GAVEL__TX_PAUSED);
        if (is_cancelled)
            cancel(&s, &blind);
        else
            advance(&s, 1000);
        ends(&s, &blind, is_cancelled ? GAVEL_CANCELLED : GAVEL_DEADLINE);
        commit_reader(&s, &reader);
        stage_close(&s);
    }
}

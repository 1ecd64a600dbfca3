/*
 * Outcomes in one line: what is said of each, and that no room is too small.
 */
#include "core/outcome.h"

#include "faulty_memory.h"

#include <gavel/gavel.h>

#include <criterion/criterion.h>

#include <string.h>

static void expect_text(const gavel_outcome *outcome, const char *wanted)
{
    char text[GAVEL_OUTCOME_TEXT_SIZE];
    cr_expect_eq(gavel_outcome_text(outcome, text, sizeof(text)), text);
    cr_expect_str_eq(text, wanted);
}

Test(core_outcome, the_ordinary_ones)
{
    expect_text(&(gavel_outcome){.status = GAVEL_COMMITTED, .n_attempts = 1, .n_round_trips = 2},
        "COMMITTED: all writes took effect, as one step");
    expect_text(&(gavel_outcome){.status = GAVEL_ABORTED, .abort_code = -7, .message = "x"},
        "ABORTED (code -7): the body decided not to write");
    expect_text(&(gavel_outcome){.message = "the transaction has no body"},
        "INVALID: the request or its body broke a rule; nothing was written: the transaction has "
        "no body");
}

Test(core_outcome, what_was_out_of_the_ordinary)
{
    expect_text(&(gavel_outcome){.status = GAVEL_COMMITTED,
                    .n_attempts = 1,
                    .is_duplicate = true,
                    .message = "committed before, under the same id"},
        "COMMITTED: all writes took effect, as one step, earlier and under the same id");
    expect_text(&(gavel_outcome){.status = GAVEL_COMMITTED_NOT_DURABLE,
                    .is_duplicate = true,
                    .message = "committed before, under the same id; 1 of 2 replicas have it"},
        "COMMITTED_NOT_DURABLE: all writes took effect, but too few replicas or disks have them "
        "in time: committed before, under the same id; 1 of 2 replicas have it");
    expect_text(&(gavel_outcome){.status = GAVEL_COMMITTED, .n_attempts = 3, .n_conflicts = 2},
        "COMMITTED: all writes took effect, as one step; 3 attempts, 2 conflicts");
    expect_text(&(gavel_outcome){.status = GAVEL_NOT_SENT, .n_faults = 1, .message = "h: refused"},
        "NOT_SENT: the writes never reached the server: h: refused; 1 fault");
    expect_text(&(gavel_outcome){.status = (gavel_status)99}, "?: ?");
}

/* Each status with all that can be said of it. */
Test(core_outcome, the_longest_fits)
{
    for (int status = GAVEL_INVALID; status <= GAVEL_COMMITTED_NOT_DURABLE; status++) {
        gavel_outcome outcome = {.status = (gavel_status)status,
            .abort_code = -2147483647 - 1,
            .n_attempts = UINT32_MAX,
            .n_conflicts = UINT32_MAX,
            .n_faults = UINT32_MAX,
            .is_duplicate = status == GAVEL_COMMITTED};
        memset(outcome.message, 'x', sizeof(outcome.message) - 1);
        char text[GAVEL_OUTCOME_TEXT_SIZE];
        gavel_outcome_text(&outcome, text, sizeof(text));
        cr_expect(strstr(text, "; 4294967295 attempts, 4294967295 conflicts, 4294967295 faults"),
            "%s", text);
    }
}

Test(core_outcome, what_does_not_fit_is_cut)
{
    const gavel_outcome outcome = {.status = GAVEL_REJECTED, .n_attempts = 2, .message = "no"};
    char whole[GAVEL_OUTCOME_TEXT_SIZE];
    gavel_outcome_text(&outcome, whole, sizeof(whole));
    for (size_t size = 1; size <= strlen(whole) + 1; size++) {
        char text[GAVEL_OUTCOME_TEXT_SIZE];
        memset(text, '#', sizeof(text));
        gavel_outcome_text(&outcome, text, size);
        cr_expect_eq(strlen(text), size - 1);
        cr_expect_eq(strncmp(text, whole, size - 1), 0);
        cr_expect_eq(text[size], '#');
    }
    char none = '#';
    gavel_outcome_text(&outcome, &none, 0);
    cr_expect_eq(none, '#');
}

/* Their size, multiplied without a look, would come to that of one. */
Test(core_outcome, more_replies_than_memory_can_hold_are_not_kept)
{
    static const gavel_reply replies[1];
    static const size_t too_many[] = {
        SIZE_MAX / sizeof(gavel_reply), SIZE_MAX / sizeof(gavel_reply) + 2};
    for (size_t i = 0; i < 2; i++) {
        faulty_memory memory = {.n_left = 1};
        gavel_allocator allocator = faulty_allocator(&memory);
        gavel_outcome outcome = {.message = ""};
        cr_expect_not(
            gavel__outcome_keep_replies(&outcome, &allocator, replies, too_many[i]), "%zu", i);
        cr_expect_eq(memory.n_allocations, 0);
        cr_expect_eq(outcome.n_replies, 0);
    }
}

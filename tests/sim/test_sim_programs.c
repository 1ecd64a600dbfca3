/*
 * Random programs under random faults: is what was told true, and was every commit made on a state
 * that its body had really seen?
 *
 * Money moves between accounts (strings, and fields of a hash) by all means that gavel has. Every
 * program that writes first writes a tag of its own, so the journal of the simulated server shows
 * when, in which order, and how often, it took effect. Played in that order, each value that a body
 * read must be the one that the store held, and after each EXEC the store must be what all of its
 * programs, one after another, make of it: that is serializability, also for those who share a
 * round and read one another's writes. And no outcome may claim more than the journal shows.
 *
 * In half of the seeds the tag is written by gavel_write, so that each command stands in the
 * journal by itself; in the others rounds merge their SETs, and the tags are in one MSET, in the
 * programs' order.
 *
 * GAVEL_SEEDS is the number of seeds; one that fails is played alone with GAVEL_SEED.
 */
#include "sim.h"

#include "base/text.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_ACCOUNTS 4
#define N_FIELDS 3
#define N_PROGRAMS 80
#define MAX_CLIENTS 3
#define MAX_SEEN 8
#define INITIAL 100
#define TOTAL (N_ACCOUNTS * INITIAL)
#define BANK GAVEL_STR("bank")

typedef enum kind {
    MOVE_STRINGS,  /* declared reads, typed writes */
    MOVE_FIELDS,   /* the same in one hash */
    MOVE_CHOSEN,   /* the second account follows from the first one's money: AGAIN */
    MOVE_BLIND,    /* INCRBY twice, nothing read: taints */
    MOVE_REPLACED, /* deleted and set again */
    MOVE_ONCE,     /* under an id that others use, too */
    AUDIT,         /* reads all accounts and aborts */
    AUDIT_ONLY,    /* the same, declared read-only */
    LOOK,          /* reads one account and aborts: what it saw must have been there meanwhile */
    REWRITE,       /* reads one account and writes the same back, without a tag: rounds that stand
                      after it fit LOOK and REWRITE */
    N_KINDS
} kind;

typedef struct seen {
    gavel_bytes key;
    gavel_bytes field; /* data NULL: a string */
    bool is_present;
    int64_t value;
} seen;

typedef struct program {
    kind kind;
    size_t from;
    size_t to;
    int64_t amount;
    char tag[24];
    bool is_unmodelled;  /* its tag is written by gavel_write */
    seen seen[MAX_SEEN]; /* of the last run, which is the one that counts */
    size_t n_seen;
    int64_t audited;
    const sim_result *result;
    int64_t submitted_us;
    bool is_timely;    /* LOOK: the journal shows what it saw, at a moment while it was under way */
    int64_t n_applied; /* by the journal */
} program;

static const gavel_bytes accounts[N_ACCOUNTS] = {{"a0", 2}, {"a1", 2}, {"a2", 2}, {"a3", 2}};
static const gavel_bytes fields[N_FIELDS] = {{"f0", 2}, {"f1", 2}, {"f2", 2}};

/* ---- Bodies -------------------------------------------------------------------------------- */

static void note(
    program *self, gavel_bytes key, gavel_bytes field, gavel_found found, int64_t value)
{
    bool is_present = found == GAVEL_FOUND;
    self->seen[self->n_seen++] = (seen){key, field, is_present, value};
}

static int64_t read_account(gavel_tx *tx, program *self, size_t i)
{
    int64_t value = 0;
    gavel_found found = gavel_get_int(tx, accounts[i], &value);
    note(self, accounts[i], (gavel_bytes){NULL, 0}, found, value);
    return value;
}

static int64_t read_field(gavel_tx *tx, program *self, size_t i)
{
    int64_t value = 0;
    gavel_found found = gavel_hget_int(tx, BANK, fields[i], &value);
    note(self, BANK, fields[i], found, value);
    return value;
}

static gavel_verdict audit(gavel_tx *tx, program *self)
{
    self->audited = 0;
    for (size_t i = 0; i < N_ACCOUNTS; i++)
        self->audited += read_account(tx, self, i);
    return self->kind == AUDIT ? gavel_abort(tx, (int)self->audited) : GAVEL_COMMIT;
}

static void move_strings(gavel_tx *tx, program *self)
{
    int64_t from = read_account(tx, self, self->from);
    int64_t to = read_account(tx, self, self->to);
    if (self->kind == MOVE_REPLACED) {
        gavel_del(tx, accounts[self->from]);
        int64_t none = 0;
        cr_expect_neq(gavel_get_int(tx, accounts[self->from], &none), GAVEL_FOUND);
    }
    gavel_set_int(tx, accounts[self->from], from - self->amount);
    gavel_set_int(tx, accounts[self->to], to + self->amount);
}

static void move_blind(gavel_tx *tx, program *self)
{
    char amount[GAVEL__INT_SIZE];
    char back[GAVEL__INT_SIZE];
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("INCRBY"), accounts[self->from],
                        gavel__format_int(-self->amount, back)));
    gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("INCRBY"), accounts[self->to],
                        gavel__format_int(self->amount, amount)));
}

static gavel_verdict run(gavel_tx *tx, void *user)
{
    program *self = user;
    self->n_seen = 0;
    if (self->kind == AUDIT || self->kind == AUDIT_ONLY)
        return audit(tx, self);
    if (self->kind == LOOK) {
        read_account(tx, self, self->from);
        return gavel_abort(tx, 1);
    }
    if (self->kind == REWRITE) {
        gavel_set_int(tx, accounts[self->from], read_account(tx, self, self->from));
        return GAVEL_COMMIT;
    }
    if (self->is_unmodelled)
        gavel_write(tx, &GAVEL_COMMAND(GAVEL_STR("SET"), gavel_str(self->tag), GAVEL_STR("1")));
    else
        gavel_set_int(tx, gavel_str(self->tag), 1);
    gavel_set_result(tx, gavel_str(self->tag));
    if (self->kind == MOVE_CHOSEN) {
        int64_t money = read_account(tx, self, self->from);
        self->to = (self->from + 1 + (size_t)(money & 1)) % N_ACCOUNTS;
        self->n_seen = 0;
    }
    if (self->kind == MOVE_FIELDS) {
        int64_t from = read_field(tx, self, self->from % N_FIELDS);
        int64_t to = read_field(tx, self, (self->from + 1) % N_FIELDS);
        gavel_hset_int(tx, BANK, fields[self->from % N_FIELDS], from - self->amount);
        gavel_hset_int(tx, BANK, fields[(self->from + 1) % N_FIELDS], to + self->amount);
    } else if (self->kind == MOVE_BLIND) {
        move_blind(tx, self);
    } else {
        move_strings(tx, self);
    }
    return GAVEL_COMMIT;
}

/* ---- Playing ------------------------------------------------------------------------------- */

/* A calm run is one after another on two accounts: what one leaves behind is there for the next. */
static void draw(sim_world *world, program *self, size_t i, bool is_calm)
{
    *self = (program){.kind = (kind)sim_random(world, N_KINDS)};
    self->from = sim_random(world, is_calm ? 2 : N_ACCOUNTS);
    if (is_calm)
        self->kind = sim_random(world, 2) == 0 ? LOOK : REWRITE;
    self->to = (self->from + 1 + sim_random(world, N_ACCOUNTS - 1)) % N_ACCOUNTS;
    self->amount = 1 + (int64_t)sim_random(world, 9);
    snprintf(self->tag, sizeof self->tag, "tag:%zu", i);
}

static void submit(sim_world *world, gavel_client *client, program *self)
{
    gavel_bytes keys[3] = {gavel_str(self->tag)};
    gavel_read reads[N_ACCOUNTS] = {{.key = accounts[self->from]}, {.key = accounts[self->to]}};
    gavel_transaction transaction = {.body = run,
        .user = self,
        .keys = keys,
        .n_keys = 1,
        .reads = reads,
        .n_reads = 2,
        .deadline_ms = 20000,
        .is_solo = sim_random(world, 16) == 0};
    char id[16];
    switch (self->kind) {
    case MOVE_STRINGS:
    case MOVE_REPLACED:
    case N_KINDS:
        break;
    case MOVE_FIELDS:
        reads[0] = (gavel_read){.key = BANK, .field = fields[self->from % N_FIELDS]};
        transaction.n_reads = 1;
        break;
    case MOVE_CHOSEN:
    case LOOK:
    case REWRITE:
        transaction.n_reads = 1;
        break;
    case MOVE_BLIND:
        keys[1] = accounts[self->from];
        keys[2] = accounts[self->to];
        transaction.n_keys = 3;
        transaction.n_reads = 0;
        break;
    case MOVE_ONCE:
        snprintf(id, sizeof id, "id%d", (int)sim_random(world, 4));
        transaction.id = gavel_str(id);
        break;
    case AUDIT:
    case AUDIT_ONLY:
        for (size_t i = 0; i < N_ACCOUNTS; i++)
            reads[i] = (gavel_read){.key = accounts[i]};
        transaction.n_keys = 0;
        transaction.n_reads = sim_random(world, 2) != 0 ? N_ACCOUNTS : 1;
        transaction.is_read_only = self->kind == AUDIT_ONLY;
        break;
    }
    if (self->kind == LOOK || self->kind == REWRITE)
        transaction.n_keys = 0;
    if (transaction.n_keys == 0)
        transaction.keys = NULL;
    if (transaction.n_reads == 0)
        transaction.reads = NULL;
    self->submitted_us = sim_now_us(world);
    self->result = sim_submit(world, client, &transaction);
}

/* Somebody else who moves money, in one step. */
static void move_from_outside(sim_world *world, void *user)
{
    (void)user;
    sim_do(world, "DECRBY a0 1");
    sim_do(world, "INCRBY a1 1");
}

static void fund(sim_world *world)
{
    char line[64];
    for (size_t i = 0; i < N_ACCOUNTS; i++) {
        snprintf(line, sizeof line, "SET a%zu %d", i, INITIAL);
        sim_do(world, line);
    }
    for (size_t i = 0; i < N_FIELDS; i++) {
        snprintf(line, sizeof line, "HSET bank f%zu %d", i, INITIAL);
        sim_do(world, line);
    }
}

/* ---- Judging ------------------------------------------------------------------------------- */

/* The store as the journal makes it, entry by entry. */
typedef struct store {
    struct {
        bool is_present;
        int64_t value;
        int64_t since_us;
    } accounts[N_ACCOUNTS], fields[N_FIELDS];
} store;

static int64_t int_of(gavel_bytes text)
{
    int64_t value = 0;
    cr_assert(gavel__parse_int(text, &value));
    return value;
}

static int index_of(const gavel_bytes *names, int n, gavel_bytes name)
{
    for (int i = 0; i < n; i++) {
        if (gavel__bytes_equal(names[i], name))
            return i;
    }
    return -1;
}

static void apply_mset(store *model, const sim_entry *entry)
{
    for (size_t pair = 1; pair + 1 < entry->n_args; pair += 2) {
        int i = index_of(accounts, N_ACCOUNTS, entry->args[pair]);
        if (i < 0)
            continue;
        model->accounts[i].is_present = true;
        model->accounts[i].value = int_of(entry->args[pair + 1]);
    }
}

static void apply(store *model, const sim_entry *entry)
{
    int i = entry->n_args > 1 ? index_of(accounts, N_ACCOUNTS, entry->args[1]) : -1;
    if (i >= 0 && sim_entry_is(entry, "set")) {
        model->accounts[i].is_present = true;
        model->accounts[i].value = int_of(entry->args[2]);
    } else if (sim_entry_is(entry, "mset")) {
        apply_mset(model, entry);
    } else if (i >= 0 && sim_entry_is(entry, "del")) {
        model->accounts[i].is_present = false;
        model->accounts[i].value = 0;
    } else if (i >= 0 && (sim_entry_is(entry, "incrby") || sim_entry_is(entry, "decrby"))) {
        int64_t by = int_of(entry->args[2]);
        model->accounts[i].is_present = true;
        model->accounts[i].value += sim_entry_is(entry, "incrby") ? by : -by;
    } else if (sim_entry_is(entry, "hset")) {
        i = index_of(fields, N_FIELDS, entry->args[2]);
        model->fields[i].is_present = true;
        model->fields[i].value = int_of(entry->args[3]);
    }
}

static void move(store *model, size_t from, size_t to, int64_t amount)
{
    model->accounts[from].value -= amount;
    model->accounts[from].is_present = true;
    model->accounts[to].value += amount;
    model->accounts[to].is_present = true;
}

/* What the program makes of the store, alone. */
static void perform(store *model, const program *self)
{
    size_t to = self->to;
    if (self->kind == MOVE_CHOSEN)
        to = (self->from + 1 + (size_t)(model->accounts[self->from].value & 1)) % N_ACCOUNTS;
    if (self->kind != MOVE_FIELDS) {
        move(model, self->from, to, self->amount);
        return;
    }
    model->fields[self->from % N_FIELDS].value -= self->amount;
    model->fields[(self->from + 1) % N_FIELDS].value += self->amount;
}

static void check_same(const store *model, const store *expected, uint64_t exec, int seed)
{
    for (size_t i = 0; i < N_ACCOUNTS; i++)
        cr_expect(model->accounts[i].value == expected->accounts[i].value &&
                      model->accounts[i].is_present == expected->accounts[i].is_present,
            "seed %d: after exec %d a%d holds %d, not %d", seed, (int)exec, (int)i,
            (int)model->accounts[i].value, (int)expected->accounts[i].value);
    for (size_t i = 0; i < N_FIELDS; i++)
        cr_expect_eq(model->fields[i].value, expected->fields[i].value,
            "seed %d: after exec %d f%d holds %d, not %d", seed, (int)exec, (int)i,
            (int)model->fields[i].value, (int)expected->fields[i].value);
}

/* The body's reads against the store in the moment before its first write. */
static void check_seen(const store *model, const program *self, int seed)
{
    for (size_t i = 0; i < self->n_seen; i++) {
        const seen *read = &self->seen[i];
        bool is_present;
        int64_t value;
        if (read->field.data == NULL) {
            int place = index_of(accounts, N_ACCOUNTS, read->key);
            is_present = model->accounts[place].is_present;
            value = model->accounts[place].value;
        } else {
            int place = index_of(fields, N_FIELDS, read->field);
            is_present = model->fields[place].is_present;
            value = model->fields[place].value;
        }
        cr_expect(read->is_present == is_present && read->value == value,
            "seed %d: %s committed on %d, but the store held %d", seed, self->tag, (int)read->value,
            (int)value);
    }
}

/* An account held its money from since_us until until_us: who may have seen that? */
static void match_looks(const store *model, program *programs, size_t i, int64_t until_us)
{
    for (size_t n = 0; n < N_PROGRAMS; n++) {
        program *self = &programs[n];
        if (self->kind != LOOK || self->from != i || self->n_seen == 0)
            continue;
        bool is_meanwhile = model->accounts[i].since_us <= self->result->done_at_us &&
                            until_us >= self->submitted_us;
        if (is_meanwhile && model->accounts[i].is_present == self->seen[0].is_present &&
            model->accounts[i].value == self->seen[0].value)
            self->is_timely = true;
    }
}

static void match_all_looks(store *model, program *programs, int64_t until_us)
{
    for (size_t i = 0; i < N_ACCOUNTS; i++) {
        match_looks(model, programs, i, until_us);
        model->accounts[i].since_us = until_us;
    }
}

/* Between two programs of one EXEC: those who share the round may have seen that. */
static void match_moment(store *expected, program *programs, int64_t at_us)
{
    for (size_t i = 0; i < N_ACCOUNTS; i++) {
        expected->accounts[i].since_us = at_us;
        match_looks(expected, programs, i, at_us);
    }
}

/* The journal, as it is gone through. */
typedef struct reading {
    program *programs;
    int seed;
    store model;    /* as the commands make it */
    store expected; /* as the programs of this EXEC make it, up to the last one met */
    uint64_t exec;  /* under way; 0: none */
} reading;

/* A tag is written: from here on its program has taken effect. */
static void meet_tag(reading *self, const sim_entry *entry, gavel_bytes tag)
{
    program *met = &self->programs[atoi(tag.data + 4)];
    cr_expect_neq(entry->exec, 0, "seed %d: %s was written bare", self->seed, met->tag);
    met->n_applied++;
    if (gavel_is_committed(&met->result->outcome))
        check_seen(&self->expected, met, self->seed);
    perform(&self->expected, met);
    match_moment(&self->expected, self->programs, entry->at_us);
}

static void meet_tags(reading *self, const sim_entry *entry)
{
    bool is_merged = sim_entry_is(entry, "mset");
    if (!is_merged && !sim_entry_is(entry, "set"))
        return;
    for (size_t i = 1; i + 1 < entry->n_args; i += 2) {
        if (!gavel__bytes_start_with(entry->args[i], GAVEL_STR("tag:")))
            continue;
        /* One by one, all that those before it have written is there. */
        if (!is_merged)
            check_same(&self->model, &self->expected, entry->exec, self->seed);
        meet_tag(self, entry, entry->args[i]);
    }
}

static void replay(sim_world *world, program *programs, int seed)
{
    reading self = {.programs = programs, .seed = seed};
    for (size_t i = 0; i < sim_journal_size(world); i++) {
        const sim_entry *entry = sim_journal_at(world, i);
        if (entry->how != SIM_RAN)
            continue;
        if (self.exec != entry->exec)
            self.expected = self.model;
        self.exec = entry->exec;
        meet_tags(&self, entry);
        if (entry->is_change)
            match_all_looks(&self.model, programs, entry->at_us);
        apply(&self.model, entry);
        if (entry->exec != 0 && sim_entry_is(entry, "exec"))
            check_same(&self.model, &self.expected, entry->exec, seed);
    }
    match_all_looks(&self.model, programs, INT64_MAX);
}

static void check_outcome(const program *self, int seed)
{
    const gavel_outcome *outcome = &self->result->outcome;
    cr_expect_eq(self->result->n_done_calls, 1, "seed %d: %s", seed, self->tag);
    bool is_audit = self->kind == AUDIT || self->kind == AUDIT_ONLY;
    bool has_tag = !is_audit && self->kind != LOOK && self->kind != REWRITE;
    int64_t least = 0;
    int64_t most = 0;
    if (outcome->status == GAVEL_UNKNOWN)
        most = 1;
    if (outcome->status == GAVEL_COMMITTED && !outcome->is_duplicate && has_tag)
        least = most = 1;
    /* It may be its own duplicate: made by an attempt whose reply was lost, found under its id. */
    gavel_bytes result = {outcome->result, outcome->result_size};
    if (outcome->is_duplicate && gavel__bytes_equal(result, gavel_str(self->tag)))
        least = most = 1;
    cr_expect(self->n_applied >= least && self->n_applied <= most,
        "seed %d: %s was made %d times, but told as %s (%s)", seed, self->tag, (int)self->n_applied,
        gavel_status_name(outcome->status), outcome->message);
    if (self->kind == LOOK && outcome->status == GAVEL_ABORTED)
        cr_expect(self->is_timely, "seed %d: %s aborted on %d, which was not there meanwhile", seed,
            self->tag, (int)self->seen[0].value);
    if (is_audit && self->kind != LOOK &&
        (outcome->status == GAVEL_ABORTED || outcome->status == GAVEL_COMMITTED))
        cr_expect_eq(
            self->audited, TOTAL, "seed %d: %s saw %d in all", seed, self->tag, (int)self->audited);
}

/* Of those with one id at most one took effect, and duplicates were told of that one. */
static void check_ids(sim_world *world, const program *programs, int seed)
{
    for (size_t i = 0; i < N_PROGRAMS; i++) {
        const gavel_outcome *outcome = &programs[i].result->outcome;
        if (programs[i].kind != MOVE_ONCE || !outcome->is_duplicate)
            continue;
        char tag[GAVEL_RESULT_MAX + 1] = "";
        memcpy(tag, outcome->result, outcome->result_size);
        cr_expect_eq(programs[atoi(tag + 4)].n_applied, 1, "seed %d: duplicate of %s", seed, tag);
    }
    int64_t n_applied = 0;
    int64_t n_ids = 0;
    for (size_t i = 0; i < N_PROGRAMS; i++)
        n_applied += programs[i].kind == MOVE_ONCE ? programs[i].n_applied : 0;
    for (int i = 0; i < 4; i++) {
        char key[32];
        snprintf(key, sizeof key, "gavel:id:{id%d}", i);
        n_ids += sim_exists(world, gavel_str(key));
    }
    cr_expect_eq(n_applied, n_ids, "seed %d: ids", seed);
}

static void judge(sim_world *world, program *programs, int seed)
{
    replay(world, programs, seed);
    for (size_t i = 0; i < N_PROGRAMS; i++)
        check_outcome(&programs[i], seed);
    check_ids(world, programs, seed);
    int64_t total = 0;
    for (size_t i = 0; i < N_ACCOUNTS; i++)
        total += sim_get_int(world, accounts[i].data);
    cr_expect_eq(total, TOTAL, "seed %d: %d in all accounts", seed, (int)total);
}

/* ---- Seeds --------------------------------------------------------------------------------- */

static int64_t play(int seed)
{
    sim_world *world = sim_create((uint64_t)seed);
    program programs[N_PROGRAMS];
    gavel_client *clients[MAX_CLIENTS];
    size_t n_clients = 1 + sim_random(world, MAX_CLIENTS);
    gavel_config config = {.has_no_markers = sim_random(world, 4) == 0,
        .max_links = 1 + (uint32_t)sim_random(world, 4)};
    if (sim_random(world, 2) == 0) {
        config.max_round_width = (uint32_t)sim_random(world, 8);
        config.max_round_keys = (uint32_t)sim_random(world, 12);
        config.max_round_bytes = sim_random(world, 400);
    }
    bool is_calm = sim_random(world, 4) == 0;
    fund(world);
    if (sim_random(world, 4) != 0) {
        sim_faults faults = sim_draw_faults(world);
        if (sim_random(world, 8) == 0) {
            faults.evict_every_us = 20 * SIM_MILLISECOND;
            faults.evict_prefix = "gavel:m:";
        }
        sim_set_faults(world, &faults);
    }
    if (sim_random(world, 2) != 0)
        sim_add_actor(world, 5 * SIM_MILLISECOND, move_from_outside, NULL);
    for (size_t i = 0; i < n_clients; i++)
        clients[i] = sim_open(world, &config);
    for (size_t i = 0; i < N_PROGRAMS; i++) {
        draw(world, &programs[i], i, is_calm);
        programs[i].is_unmodelled = seed % 2 != 0;
        submit(world, clients[i % n_clients], &programs[i]);
        if (is_calm || sim_random(world, 5) == 0)
            sim_run_for(world, (int64_t)sim_random(world, 3000));
        if (sim_random(world, 40) == 0)
            gavel_cancel(clients[i % n_clients], programs[i].result->ticket);
    }
    cr_assert(sim_finish(world, 120 * SIM_SECOND), "seed %d: not all were told", seed);
    for (size_t i = 0; i < n_clients; i++)
        gavel_close(clients[i]);
    sim_stop_actors(world);
    sim_set_faults(world, NULL);
    sim_run_for(world, 10 * SIM_SECOND); /* What is late arrives, too. */
    judge(world, programs, seed);
    int64_t n_committed = (int64_t)sim_n_results_with(world, GAVEL_COMMITTED);
    sim_destroy(world);
    return n_committed;
}

static int from_environment(const char *name, int fallback)
{
    const char *text = getenv(name);
    return text != NULL ? atoi(text) : fallback;
}

Test(sim_programs, what_is_told_is_what_the_journal_shows)
{
    int only = from_environment("GAVEL_SEED", -1);
    if (only >= 0) {
        play(only);
        return;
    }
    int n_seeds = from_environment("GAVEL_SEEDS", 1000);
    int64_t n_committed = 0;
    for (int seed = 0; seed < n_seeds; seed++)
        n_committed += play(seed);
    cr_expect_gt(n_committed, (int64_t)n_seeds * N_PROGRAMS / 4, "too little was left to judge");
}

/*
 * Batches: drawing them from a seed. See the header.
 *
 * Most keys hold what their names say and most steps fit them, so that most programs commit; how
 * many do not is drawn for each batch.
 */
#include "batch.h"

#include "base/random.h"
#include "prose.h"

#include <stdio.h>
#include <string.h>

/* ---- Words --------------------------------------------------------------------------------- */

#define N_KEYS 8
#define N_FIELDS 3
#define N_IDS 3
#define N_FOCUS 3

const char *const batch_keys[] = {
    "int0", "int1", "text0", "hash0", "hash1", "list0", "set0", "zset0", NULL};
const char *const batch_fields[] = {"f0", "f1", "f2", NULL};
const char *const batch_ids[] = {"a", "b", "c", NULL};
const char batch_log[] = "log";

static const char *const values[] = {
    "v", "some words", "", "a\r\nb", "12", "-7", "012", "\x01\xff"};
static const char *const numbers[] = {"0", "1", "-1", "7", "10"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What a key is meant to hold: bits, since a step may fit several. */
enum { INT = 1, TEXT = 2, HASH = 4, LIST = 8, SET = 16, ZSET = 32, ANY = 63 };

static const int homes[N_KEYS] = {INT, INT, TEXT, HASH, HASH, LIST, SET, ZSET};

/* ---- Forms --------------------------------------------------------------------------------- */

/*
 * What a step may be. In its words K is the key, O another key, F a field or member, V a value, N a
 * number. What stands here more than once is drawn more often.
 */
typedef struct step_form {
    step_kind kind;
    int home;
    size_t n_keys;
    bool is_real_only; /* the simulated server does not know it */
    const char *words[STEP_MAX_WORDS];
} step_form;

static const step_form forms[] = {
    {STEP_GET_INT, INT, 1, false, {"GET", "K"}},
    {STEP_GET_INT, INT, 1, false, {"GET", "K"}},
    {STEP_GET_INT, INT, 1, false, {"GET", "K"}},
    {STEP_GET, INT | TEXT, 1, false, {"GET", "K"}},
    {STEP_GET, TEXT, 1, false, {"GET", "K"}},
    {STEP_HGET_INT, HASH, 1, false, {"HGET", "K", "F"}},
    {STEP_HGET_INT, HASH, 1, false, {"HGET", "K", "F"}},
    {STEP_HGET_INT, HASH, 1, false, {"HGET", "K", "F"}},
    {STEP_HGET, HASH, 1, false, {"HGET", "K", "F"}},
    {STEP_QUERY, INT | TEXT, 1, false, {"GET", "K"}},
    {STEP_QUERY, INT | TEXT, 1, false, {"STRLEN", "K"}},
    {STEP_QUERY, INT | TEXT, 2, false, {"MGET", "K", "O"}},
    {STEP_QUERY, ANY, 2, false, {"EXISTS", "K", "O"}},
    {STEP_QUERY, ANY, 1, false, {"TYPE", "K"}},
    {STEP_QUERY, HASH, 1, false, {"HMGET", "K", "F", "F"}},
    {STEP_QUERY, HASH, 1, false, {"HLEN", "K"}},
    {STEP_QUERY, HASH, 1, false, {"HEXISTS", "K", "F"}},
    {STEP_QUERY, LIST, 1, false, {"LRANGE", "K", "0", "-1"}},
    {STEP_QUERY, LIST, 1, false, {"LLEN", "K"}},
    {STEP_QUERY, LIST, 1, true, {"LINDEX", "K", "-1"}},
    {STEP_QUERY, SET, 1, false, {"SISMEMBER", "K", "F"}},
    {STEP_QUERY, SET, 1, false, {"SCARD", "K"}},
    {STEP_QUERY, LIST | SET | ZSET, 1, true, {"SORT", "K", "ALPHA"}},
    {STEP_QUERY, ANY, 0, false, {"ECHO", "V"}},
    {STEP_QUERY, ZSET, 1, false, {"ZSCORE", "K", "F"}},
    {STEP_QUERY, ZSET, 1, false, {"ZRANGE", "K", "0", "-1", "WITHSCORES"}},
    {STEP_SET_INT, INT, 1, false, {"SET", "K", "V"}},
    {STEP_SET_INT, INT, 1, false, {"SET", "K", "V"}},
    {STEP_SET_INT, INT, 1, false, {"SET", "K", "V"}},
    {STEP_SET, TEXT, 1, false, {"SET", "K", "V"}},
    {STEP_SET, INT, 1, false, {"SET", "K", "N"}},
    {STEP_SET, TEXT, 1, false, {"SET", "K", "V"}},
    {STEP_DEL, ANY, 1, false, {"DEL", "K"}},
    {STEP_HSET_INT, HASH, 1, false, {"HSET", "K", "F", "V"}},
    {STEP_HSET_INT, HASH, 1, false, {"HSET", "K", "F", "V"}},
    {STEP_HSET_INT, HASH, 1, false, {"HSET", "K", "F", "V"}},
    {STEP_HSET, HASH, 1, false, {"HSET", "K", "F", "V"}},
    {STEP_HDEL, HASH, 1, false, {"HDEL", "K", "F"}},
    {STEP_CHANGE, INT, 1, false, {"INCRBY", "K", "N"}},
    {STEP_CHANGE, INT, 1, false, {"INCRBY", "K", "N"}},
    {STEP_CHANGE, HASH, 1, false, {"HINCRBY", "K", "F", "N"}},
    {STEP_CHANGE, TEXT, 1, false, {"APPEND", "K", "V"}},
    {STEP_CHANGE, TEXT, 1, false, {"APPEND", "K", "V"}},
    {STEP_CHANGE, INT | TEXT, 1, false, {"SET", "K", "N", "PX", "1000000"}},
    {STEP_CHANGE, INT | TEXT, 1, false, {"SET", "K", "N", "KEEPTTL"}},
    {STEP_CHANGE, ANY, 1, false, {"PEXPIRE", "K", "1000000"}},
    {STEP_CHANGE, ANY, 1, false, {"PERSIST", "K"}},
    {STEP_CHANGE, ANY, 2, false, {"DEL", "K", "O"}},
    {STEP_WRITE, INT, 1, false, {"INCR", "K"}},
    {STEP_WRITE, INT, 1, false, {"INCRBY", "K", "N"}},
    {STEP_WRITE, INT, 1, false, {"DECR", "K"}},
    {STEP_WRITE, TEXT, 1, false, {"APPEND", "K", "V"}},
    {STEP_WRITE, INT | TEXT, 1, false, {"SET", "K", "N", "EX", "1000"}},
    {STEP_WRITE, INT | TEXT, 1, false, {"SET", "K", "N", "GET"}},
    {STEP_WRITE, INT | TEXT, 1, false, {"SET", "K", "N"}},
    {STEP_WRITE, INT | TEXT, 1, false, {"SETNX", "K", "N"}},
    {STEP_WRITE, INT | TEXT, 1, false, {"GETDEL", "K"}},
    {STEP_WRITE, TEXT, 1, true, {"SETRANGE", "K", "2", "V"}},
    {STEP_WRITE, ANY, 1, false, {"EXPIRE", "K", "1000"}},
    {STEP_WRITE, ANY, 1, false, {"EXPIRE", "K", "-1"}},
    {STEP_WRITE, ANY, 1, false, {"PERSIST", "K"}},
    {STEP_WRITE, ANY, 2, false, {"DEL", "K", "O"}},
    {STEP_WRITE, ANY, 2, false, {"UNLINK", "K", "O"}},
    {STEP_WRITE, ANY, 2, true, {"RENAME", "K", "O"}},
    {STEP_WRITE, ANY, 2, true, {"COPY", "K", "O", "REPLACE"}},
    {STEP_WRITE, ANY, 0, true, {"PUBLISH", "F", "V"}},
    {STEP_WRITE, HASH, 1, false, {"HINCRBY", "K", "F", "N"}},
    {STEP_WRITE, HASH, 1, false, {"HSET", "K", "F", "V", "F", "N"}},
    {STEP_WRITE, HASH, 1, true, {"HSETNX", "K", "F", "V"}},
    {STEP_WRITE, LIST, 1, false, {"LPUSH", "K", "V"}},
    {STEP_WRITE, LIST, 1, false, {"RPUSH", "K", "V", "N"}},
    {STEP_WRITE, LIST, 1, false, {"LPOP", "K"}},
    {STEP_WRITE, SET, 1, false, {"SADD", "K", "F"}},
    {STEP_WRITE, SET, 1, false, {"SREM", "K", "F"}},
    {STEP_WRITE, ZSET, 1, false, {"ZADD", "K", "N", "F"}},
    {STEP_WRITE, ZSET, 1, false, {"ZREM", "K", "F"}},
};

/* What goes wrong however the data are. */
static const step_form mistakes[] = {
    {STEP_REFUSED, ANY, 1, false, {"INCR", "K", "V"}},
    {STEP_REFUSED, ANY, 1, false, {"SET", "K"}},
    {STEP_REFUSED, ANY, 1, false, {"NOSUCHCOMMAND", "K"}},
    {STEP_REFUSED, ANY, 1, false, {"HSET", "K", "F"}},
    {STEP_STEERING, ANY, 1, false, {"WATCH", "K"}},
    {STEP_TOO_LONG, ANY, 1, false, {NULL}},
    {STEP_BARE_AGAIN, ANY, 1, false, {NULL}},
    {STEP_NO_VERDICT, ANY, 1, false, {NULL}},
};

/* ---- Drawing ------------------------------------------------------------------------------- */

typedef struct painter {
    gavel__random random;
    bool is_real;
    size_t keys[N_FOCUS];
    size_t n_keys; /* of these; 0: all keys */
    bool is_blind; /* some programs do not declare what they write */
    bool has_log;
    uint64_t strays;    /* per mille of the steps: on a key that holds something else */
    uint64_t mistakes;  /* per mille of the steps */
    uint64_t undecided; /* per cent of the steps that are taken always */
} painter;

static uint64_t below(painter *self, uint64_t bound)
{
    return gavel__random_below(&self->random, bound);
}

static bool happens(painter *self, uint64_t n, uint64_t of)
{
    return below(self, of) < n;
}

static size_t draw_key(painter *self)
{
    if (self->n_keys > 0)
        return self->keys[below(self, self->n_keys)];
    /* Half of all steps go to the first integer and the first hash: programs are to meet. */
    if (happens(self, 1, 2))
        return happens(self, 1, 2) ? 0 : 3;
    return below(self, N_KEYS);
}

static const char *draw_other_key(painter *self, const char *key)
{
    size_t i = draw_key(self);
    return batch_keys[i] != key ? batch_keys[i] : batch_keys[(i + 1) % N_KEYS];
}

static const char *draw_word(painter *self, char letter, const char *key)
{
    switch (letter) {
    case 'K':
        return key;
    case 'O':
        return draw_other_key(self, key);
    case 'F':
        return batch_fields[below(self, N_FIELDS)];
    case 'V':
        return values[below(self, COUNT(values))];
    case 'N':
        return numbers[below(self, COUNT(numbers))];
    default:
        return NULL;
    }
}

static void fill_words(painter *self, batch_step *drawn, const step_form *form, const char *key)
{
    while (drawn->n_words < STEP_MAX_WORDS && form->words[drawn->n_words] != NULL) {
        const char *word = form->words[drawn->n_words];
        const char *chosen =
            word[0] != '\0' && word[1] == '\0' ? draw_word(self, word[0], key) : NULL;
        drawn->words[drawn->n_words++] = chosen != NULL ? chosen : word;
    }
}

static const step_form *draw_form(painter *self, int home)
{
    for (;;) {
        const step_form *drawn = &forms[below(self, COUNT(forms))];
        if ((drawn->home & home) != 0 && (self->is_real || !drawn->is_real_only))
            return drawn;
    }
}

static batch_step draw_step(painter *self)
{
    size_t key = draw_key(self);
    bool is_stray = happens(self, self->strays, 1000);
    const step_form *form = draw_form(self, is_stray ? ANY : homes[key]);
    if (happens(self, self->mistakes, 1000))
        form = &mistakes[below(self, COUNT(mistakes))];
    batch_step drawn = {.kind = form->kind, .n_keys = form->n_keys};
    fill_words(self, &drawn, form, batch_keys[key]);
    drawn.amount = (int64_t)below(self, 20) - 5;
    drawn.is_declared = !happens(self, 1, 6);
    if (!happens(self, self->undecided, 100))
        drawn.when = happens(self, 1, 2) ? WHEN_ODD : WHEN_EVEN;
    return drawn;
}

/* How a program ends, when not by a plain commit. */
static void draw_end(painter *self, batch_program *drawn)
{
    batch_step end = {.when = (step_when)below(self, 3)};
    if (happens(self, 1, 4))
        end.kind = STEP_ABORT;
    else if (happens(self, 1, 30))
        end.kind = STEP_RETRY;
    else if (happens(self, 1, 2))
        end.kind = STEP_RESULT;
    else
        return;
    if (end.kind == STEP_RETRY && end.when == WHEN_EVER)
        end.when = WHEN_ODD;
    drawn->steps[drawn->n_steps++] = end;
}

static bool has_writes(const batch_program *self)
{
    for (size_t i = 0; i < self->n_steps; i++) {
        if (step_is_write(&self->steps[i]))
            return true;
    }
    return false;
}

/* Who reads first does not meet what he has written in a way that gavel does not model. */
static void put_reads_first(batch_program *drawn)
{
    size_t n_reads = 0;
    for (size_t i = 0; i < drawn->n_steps; i++) {
        batch_step step = drawn->steps[i];
        if (!step_is_read(&step))
            continue;
        memmove(&drawn->steps[n_reads + 1], &drawn->steps[n_reads], (i - n_reads) * sizeof step);
        drawn->steps[n_reads++] = step;
    }
}

static void draw_steps(painter *self, batch_program *drawn)
{
    size_t n_steps = 1 + below(self, happens(self, 1, 3) ? 2 : PROGRAM_MAX_STEPS - 1);
    bool only_reads = happens(self, 1, 5);
    while (drawn->n_steps < n_steps) {
        batch_step step = draw_step(self);
        if (!only_reads || step_is_read(&step))
            drawn->steps[drawn->n_steps++] = step;
    }
    if (happens(self, 3, 4))
        put_reads_first(drawn);
    draw_end(self, drawn);
}

static batch_program draw_program(painter *self)
{
    batch_program drawn = {
        .is_hasty = happens(self, 1, 2),
        .is_sparing = happens(self, 1, 2),
        .is_terse = happens(self, 1, 5),
        .is_blind = self->is_blind && happens(self, 2, 3),
        .is_logged = self->has_log,
        .is_solo = happens(self, 1, 8),
        .keep_replies = happens(self, 2, 3),
        .max_conflicts = 5, /* against RETRY for ever */
    };
    draw_steps(self, &drawn);
    if (!has_writes(&drawn))
        drawn.is_read_only = happens(self, 1, 2);
    else if (happens(self, self->mistakes, 1000))
        drawn.is_read_only = true;
    if (!drawn.is_read_only && happens(self, 1, 8)) {
        drawn.id = batch_ids[below(self, N_IDS)];
        drawn.digest = happens(self, 1, 4) ? "another request" : "a request";
    }
    return drawn;
}

/* ---- The data to begin with ---------------------------------------------------------------- */

static void start_line(program_batch *drawn, const char *form, const char *key, const char *word)
{
    snprintf(drawn->start[drawn->n_start++], sizeof drawn->start[0], form, key, word);
}

static void draw_start_of(painter *self, program_batch *drawn, size_t i)
{
    int home = happens(self, self->strays, 500) ? 1 << below(self, 6) : homes[i];
    const char *key = batch_keys[i];
    const char *number = numbers[below(self, COUNT(numbers))];
    if (happens(self, 1, 5))
        return;
    switch (home) {
    case INT:
        start_line(drawn, "SET %s %s", key, number);
        break;
    case TEXT:
        start_line(drawn, "SET %s text%s", key, number);
        break;
    case HASH:
        start_line(drawn, "HSET %s f0 %s f1 3", key, number);
        if (happens(self, self->strays, 500))
            start_line(drawn, "HSET %s f2 word%s", key, number);
        break;
    case LIST:
        start_line(drawn, "RPUSH %s x %s", key, number);
        break;
    case SET:
        start_line(drawn, "SADD %s f0 %s", key, number);
        break;
    default:
        start_line(drawn, "ZADD %s 5 f0 %s f1", key, number);
        break;
    }
    if (happens(self, 1, 5))
        start_line(drawn, "EXPIRE %s %s", key, "1000");
}

/* ---- Batches ------------------------------------------------------------------------------- */

/* How the programs of a batch come. */
typedef enum arrival { ALL_AT_ONCE, IN_BURSTS, IN_A_STREAM, ONE_BY_ONE } arrival;

static pause_before draw_pause(painter *self, arrival manner)
{
    switch (manner) {
    case ALL_AT_ONCE:
        return PAUSE_NONE;
    case IN_BURSTS:
        return happens(self, 1, 5) ? (pause_before)(1 + below(self, 3)) : PAUSE_NONE;
    case IN_A_STREAM:
        return happens(self, 2, 3) ? PAUSE_MOMENT : PAUSE_NONE;
    case ONE_BY_ONE:
        return happens(self, 1, 4) ? PAUSE_UNTIL_TOLD : PAUSE_UNTIL_IDLE;
    }
    return PAUSE_NONE;
}

static batch_program draw_outsider(painter *self)
{
    batch_program drawn = {.is_outsider = true, .n_steps = 1, .is_logged = self->has_log};
    do
        drawn.steps[0] = draw_step(self);
    while (!step_is_write(&drawn.steps[0]));
    drawn.steps[0].when = WHEN_EVER;
    return drawn;
}

/* Who comes again may join what its like has left behind. */
static void draw_programs(painter *self, program_batch *drawn)
{
    static const arrival manners[] = {
        ALL_AT_ONCE, ALL_AT_ONCE, IN_BURSTS, IN_BURSTS, IN_A_STREAM, ONE_BY_ONE};
    arrival manner = manners[below(self, COUNT(manners))];
    drawn->n_programs = 2 + below(self, happens(self, 1, 2) ? 6 : BATCH_MAX_PROGRAMS - 1);
    for (size_t i = 0; i < drawn->n_programs; i++) {
        bool is_again = i > 0 && happens(self, manner == ONE_BY_ONE ? 2 : 1, 3);
        batch_program *program = &drawn->programs[i];
        *program = is_again ? drawn->programs[below(self, i)] : draw_program(self);
        program->pause = draw_pause(self, manner);
        if ((manner == IN_BURSTS || manner == ONE_BY_ONE) && happens(self, 1, 8))
            *program = draw_outsider(self);
        program->number = (int)i;
    }
}

program_batch batch_draw(uint64_t seed, bool is_real)
{
    static const uint64_t rates[] = {0, 30, 120};
    painter self = {.is_real = is_real};
    gavel__random_seed(&self.random, seed);
    if (happens(&self, 1, 2))
        self.n_keys = 1 + below(&self, N_FOCUS);
    for (size_t i = 0; i < self.n_keys; i++)
        self.keys[i] = below(&self, N_KEYS);
    self.strays = rates[below(&self, COUNT(rates))];
    self.mistakes = rates[below(&self, COUNT(rates))] / 2;
    self.undecided = 50 + below(&self, 51);
    program_batch drawn = {.seed = seed,
        .max_links = 1 + (uint32_t)below(&self, 4),
        .has_no_markers = happens(&self, 1, 3)};
    self.is_blind = happens(&self, 1, 2);
    self.has_log = drawn.has_log = self.is_blind && drawn.max_links > 1;
    for (size_t i = 0; i < N_KEYS; i++)
        draw_start_of(&self, &drawn, i);
    draw_programs(&self, &drawn);
    return drawn;
}

/* ---- For people ---------------------------------------------------------------------------- */

static void say_step(gavel__buffer *text, const batch_step *self)
{
    static const char *const names[] = {"get", "get_int", "hget", "hget_int", "query", "set",
        "set_int", "del", "hset", "hset_int", "hdel", "change", "write", "refused", "result",
        "abort", "retry", "steering", "too long", "bare again", "no verdict"};
    static const char *const whens[] = {"", "if odd: ", "if even: "};
    prose_say(text, "    %s%s", whens[self->when], names[self->kind]);
    for (size_t i = self->kind == STEP_QUERY || self->kind >= STEP_CHANGE ? 0 : 1;
         i < self->n_words; i++) {
        bool is_computed =
            i + 1 == self->n_words && (self->kind == STEP_SET_INT || self->kind == STEP_HSET_INT);
        prose_say(text, " ");
        if (is_computed)
            prose_say(text, "(last %+lld)", (long long)self->amount);
        else
            prose_quote(text, gavel_str(self->words[i]));
    }
    prose_say(text, step_is_read(self) && !self->is_declared ? ", undeclared\n" : "\n");
}

static void say_program(gavel__buffer *text, const batch_program *self)
{
    static const char *const pauses[] = {
        "", ", after a moment", ", when one more was told", ", when all were told"};
    prose_say(text, "  #%d%s%s%s%s%s%s%s%s%s", self->number, pauses[self->pause],
        self->is_outsider ? ", past gavel" : "", self->is_hasty ? ", hasty" : "",
        self->is_terse ? ", terse" : "", self->is_blind ? ", blind" : "",
        self->is_sparing ? ", sparing" : "", self->is_read_only ? ", read-only" : "",
        self->is_solo ? ", solo" : "", self->keep_replies ? ", replies" : "");
    if (self->id != NULL)
        prose_say(text, ", id %s for %s", self->id, self->digest);
    prose_say(text, "\n");
    for (size_t i = 0; i < self->n_steps; i++)
        say_step(text, &self->steps[i]);
}

void batch_say(gavel__buffer *text, const program_batch *self)
{
    prose_say(text, "seed %llu: %u links, %s markers\n", (unsigned long long)self->seed,
        self->max_links, self->has_no_markers ? "no" : "with");
    for (size_t i = 0; i < self->n_start; i++)
        prose_say(text, "  %s\n", self->start[i]);
    for (size_t i = 0; i < self->n_programs; i++)
        say_program(text, &self->programs[i]);
}

/* Workloads; see workload.h. */
#include "workload.h"

#include "measure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Chance ---------------------------------------------------------------------------------- */

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators". */
uint64_t chance(uint64_t *random)
{
    uint64_t x = *random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *random = x;
    return x * UINT64_C(2685821657736338717);
}

double chance_share(uint64_t *random)
{
    return (double)(chance(random) >> 11) / 9007199254740992.0;
}

static size_t choose_key(const struct stage *stage, uint64_t *random)
{
    if (stage->n_keys == 1)
        return 0;
    double share = chance_share(random);
    if (stage->reach == NULL)
        return (size_t)(share * (double)stage->n_keys);
    size_t low = 0;
    size_t high = stage->n_keys - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (stage->reach[middle] > share)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* ---- All of them ----------------------------------------------------------------------------- */

static void choose_counter(struct job *job, uint64_t *random)
{
    job->keys[0] = choose_key(job->stage, random);
    job->amount = 1;
}

static bool decide_counter(struct job *job)
{
    job->next[0] = job->seen[0] + 1;
    return true;
}

static void choose_ycsb(struct job *job, uint64_t *random)
{
    choose_counter(job, random);
    job->is_read = chance(random) >> 63 != 0;
}

static void choose_transfer(struct job *job, uint64_t *random)
{
    job->keys[0] = choose_key(job->stage, random);
    do
        job->keys[1] = choose_key(job->stage, random);
    while (job->keys[1] == job->keys[0]);
    job->amount = 1 + (int64_t)(chance(random) >> 60);
}

static bool decide_transfer(struct job *job)
{
    if (job->seen[0] < job->amount)
        return false;
    job->next[0] = job->seen[0] - job->amount;
    job->next[1] = job->seen[1] + job->amount;
    return true;
}

/* Bidders see a price that may be old by now, and outbid it by a little. */
static void choose_auction(struct job *job, uint64_t *random)
{
    job->keys[0] = choose_key(job->stage, random);
    job->amount = atomic_load_explicit(&job->stage->shown[job->keys[0]], memory_order_relaxed) + 1 +
                  (int64_t)(chance(random) >> 57);
}

static bool decide_auction(struct job *job)
{
    job->next[0] = job->amount;
    job->next[1] = job->seen[1] + 1;
    return job->amount > job->seen[0];
}

#define PLUS_ONE "redis.call('SET', KEYS[1], redis.call('GET', KEYS[1]) + 1) return 1"

static const struct workload workloads[] = {
    {"counter", false, 1, 0, PLUS_ONE, choose_counter, decide_counter, false, false},
    {"transfer", false, 2, 1000,
        "local from = tonumber(redis.call('GET', KEYS[1])) local amount = tonumber(ARGV[1]) "
        "if from < amount then return 0 end "
        "redis.call('SET', KEYS[1], from - amount) "
        "redis.call('SET', KEYS[2], redis.call('GET', KEYS[2]) + amount) return amount",
        choose_transfer, decide_transfer, false, false},
    {"auction", true, 1, 0,
        "local item = redis.call('HMGET', KEYS[1], 'price', 'bids') "
        "local rise = ARGV[1] - item[1] if rise <= 0 then return rise end "
        "redis.call('HSET', KEYS[1], 'price', ARGV[1], 'leader', ARGV[2], 'bids', item[2] + 1) "
        "return rise",
        choose_auction, decide_auction, false, false},
    {"ycsb", false, 1, 0, PLUS_ONE, choose_ycsb, decide_counter, false, false},
    {"foreign", false, 1, 0, PLUS_ONE, choose_counter, decide_counter, true, false},
    {"orders", false, 1, 0, "redis.call('XADD', KEYS[2], '*', 'item', KEYS[1]) " PLUS_ONE,
        choose_counter, decide_counter, false, true},
};

const struct workload *workload_find(const char *name)
{
    for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
        if (strcmp(workloads[i].name, name) == 0)
            return &workloads[i];
    return NULL;
}

/* ---- The stage ------------------------------------------------------------------------------- */

static size_t cells_per_key(const struct stage *stage)
{
    return stage->workload->is_hash ? 2 : 1;
}

/* Key i is drawn in proportion to 1 / (i + 1) to the power of theta. */
static bool fill_reach(struct stage *stage, double theta)
{
    stage->reach = calloc(stage->n_keys, sizeof(*stage->reach));
    if (stage->reach == NULL)
        return false;
    double sum = 0;
    for (size_t i = 0; i < stage->n_keys; i++)
        stage->reach[i] = sum += pow((double)(i + 1), -theta);
    for (size_t i = 0; i < stage->n_keys; i++)
        stage->reach[i] /= sum;
    return true;
}

bool stage_open(struct stage *stage, const struct workload *workload, size_t n_keys, double theta)
{
    stage->workload = workload;
    stage->n_keys = n_keys;
    stage->n_cells = n_keys * cells_per_key(stage) + workload->has_log;
    stage->keys = server_name_keys(n_keys);
    stage->told = calloc(stage->n_cells, sizeof(*stage->told));
    stage->shown = workload->is_hash ? calloc(n_keys, sizeof(*stage->shown)) : NULL;
    bool has_order = workload_has_order(workload, n_keys);
    stage->arrivals = has_order ? arrivals_open() : NULL;
    bool is_open = stage->keys != NULL && stage->told != NULL &&
                   (stage->shown != NULL || !workload->is_hash) &&
                   (stage->arrivals != NULL || !has_order) &&
                   (theta <= 0 || fill_reach(stage, theta));
    if (!is_open)
        fprintf(stderr, "no memory for the keys\n");
    return is_open;
}

void stage_close(struct stage *stage)
{
    free(stage->keys);
    free(stage->told);
    free(stage->shown);
    free(stage->reach);
    arrivals_close(stage->arrivals);
}

/* Commands go out in batches, so that neither side's buffers grow large. */
#define BATCH 1000

static redisReply *next_reply(redisContext *context)
{
    void *reply = NULL;
    if (redisGetReply(context, &reply) != REDIS_OK)
        fprintf(stderr, "server: %s\n", context->errstr);
    return reply;
}

bool stage_set_body(struct stage *stage, redisContext *context, double body_us)
{
    const int n_turns = 1000000;
    stage->body_ns = (int64_t)(body_us * 1000);
    if (stage->body_ns == 0)
        return true;
    int64_t start_ns = measure_now_ns();
    redisAppendCommand(context, "EVAL %s 0 %d", "for i = 1, ARGV[1] do end", n_turns);
    redisReply *reply = next_reply(context);
    int64_t turn_ns = measure_now_ns() - start_ns;
    bool is_good = reply != NULL && reply->type != REDIS_REPLY_ERROR;
    stage->script_turns = (uint64_t)((double)stage->body_ns * n_turns / (double)turn_ns);
    if (reply != NULL)
        freeReplyObject(reply);
    return is_good;
}

/* Sends nothing but what was appended, and takes the only reply. NULL: it was told why. */
static redisReply *ask(redisContext *context, const char *command)
{
    redisAppendCommand(context, command);
    redisReply *reply = next_reply(context);
    if (reply == NULL || reply->type != REDIS_REPLY_ERROR)
        return reply;
    fprintf(stderr, "server: %s\n", reply->str);
    freeReplyObject(reply);
    return NULL;
}

static bool reset_log(redisContext *context)
{
    redisReply *reply = ask(context, "DEL " LOG_KEY);
    if (reply != NULL)
        freeReplyObject(reply);
    return reply != NULL;
}

/* Counts the log, if it has not as many entries as were told, as one violation. */
static bool check_log(redisContext *context, int64_t told, uint64_t *n_violations)
{
    redisReply *reply = ask(context, "XLEN " LOG_KEY);
    if (reply == NULL)
        return false;
    if (reply->integer != told)
        fprintf(stderr, "the log should have %lld entries, and has %lld\n", (long long)told,
            reply->integer);
    *n_violations += reply->integer != told;
    freeReplyObject(reply);
    return true;
}

/* A key's gate and locks by the names that they have under gavel's default prefix. */
static void append_reset(const struct stage *stage, redisContext *context, const bench_key *key)
{
    const char *name = key->name;
    redisAppendCommand(context,
        "DEL %s " LOCK_PREFIX
        "{%s} gavel:gate:{%s} gavel:queue:{%s} gavel:lock:{%s} gavel:lock-queue:{%s}",
        name, name, name, name, name, name);
    if (stage->workload->is_hash)
        redisAppendCommand(context, "HSET %b price 0 bids 0 leader nobody", key->name, key->size);
    else
        redisAppendCommand(
            context, "SET %b %lld", key->name, key->size, (long long)stage->workload->initial);
}

bool stage_reset(const struct stage *stage, redisContext *context)
{
    if (stage->workload->has_log && !reset_log(context))
        return false;
    for (size_t first = 0; first < stage->n_keys; first += BATCH) {
        size_t n = stage->n_keys - first < BATCH ? stage->n_keys - first : BATCH;
        for (size_t i = 0; i < n; i++)
            append_reset(stage, context, &stage->keys[first + i]);
        for (size_t i = 0; i < 2 * n; i++) {
            redisReply *reply = next_reply(context);
            bool is_good = reply != NULL && reply->type != REDIS_REPLY_ERROR;
            if (reply != NULL)
                freeReplyObject(reply);
            if (!is_good)
                return false;
        }
    }
    return true;
}

static void append_look(const struct stage *stage, redisContext *context, const bench_key *key)
{
    if (stage->workload->is_hash)
        redisAppendCommand(context, "HMGET %b price bids", key->name, key->size);
    else
        redisAppendCommand(context, "MGET %b", key->name, key->size);
}

/* How many cells of one key, in an array, are not as told. */
static uint64_t count_violations(
    const struct stage *stage, const redisReply *reply, const int64_t *told)
{
    uint64_t n = 0;
    for (size_t i = 0; i < cells_per_key(stage); i++) {
        bool is_there = reply->type == REDIS_REPLY_ARRAY && i < reply->elements &&
                        reply->element[i]->type == REDIS_REPLY_STRING;
        int64_t expected = stage->workload->initial + told[i];
        bool is_good = is_there && strtoll(reply->element[i]->str, NULL, 10) == expected;
        if (!is_good)
            fprintf(stderr, "a cell should hold %lld, and holds %s\n", (long long)expected,
                is_there ? reply->element[i]->str : "nothing");
        n += !is_good;
    }
    return n;
}

bool stage_check(const struct stage *stage, redisContext *context, const int64_t *told,
    uint64_t *ret_n_violations)
{
    uint64_t n_violations = 0;
    if (stage->workload->has_log && !check_log(context, told[stage->n_cells - 1], &n_violations))
        return false;
    for (size_t first = 0; first < stage->n_keys; first += BATCH) {
        size_t n = stage->n_keys - first < BATCH ? stage->n_keys - first : BATCH;
        for (size_t i = 0; i < n; i++)
            append_look(stage, context, &stage->keys[first + i]);
        for (size_t i = 0; i < n; i++) {
            redisReply *reply = next_reply(context);
            if (reply == NULL)
                return false;
            n_violations +=
                count_violations(stage, reply, &told[(first + i) * cells_per_key(stage)]);
            freeReplyObject(reply);
        }
    }
    *ret_n_violations = n_violations;
    return true;
}

/* ---- Jobs ------------------------------------------------------------------------------------ */

void job_choose(struct job *job, uint64_t *random)
{
    job->is_read = false;
    job->stage->workload->choose(job, random);
}

gavel_bytes job_key(const struct job *job, size_t i)
{
    const bench_key *key = &job->stage->keys[job->keys[i]];
    return (gavel_bytes){key->name, key->size};
}

static void work_for(int64_t ns)
{
    if (ns <= 0)
        return;
    int64_t end_ns = measure_now_ns() + ns;
    while (measure_now_ns() < end_ns)
        ;
}

bool job_decide(struct job *job)
{
    work_for(job->stage->body_ns);
    return job->stage->workload->decide(job);
}

static gavel_bytes digits_of(struct job *job, size_t i, int64_t value)
{
    char reversed[24];
    char *digits = job->digits[i];
    size_t n = 0;
    size_t size = 0;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do
        reversed[n++] = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    if (value < 0)
        digits[size++] = '-';
    while (n > 0)
        digits[size++] = reversed[--n];
    return (gavel_bytes){digits, size};
}

/* The name, and the keys behind it. */
static size_t keyed_args(const struct job *job, gavel_bytes name, gavel_bytes *args)
{
    size_t n = 0;
    args[n++] = name;
    for (size_t i = 0; i < job->stage->workload->n_keys; i++)
        args[n++] = job_key(job, i);
    return n;
}

size_t job_watch_args(const struct job *job, gavel_bytes *args)
{
    return keyed_args(job, GAVEL_STR("WATCH"), args);
}

size_t job_read_args(const struct job *job, gavel_bytes *args)
{
    const struct workload *workload = job->stage->workload;
    if (!workload->is_hash)
        return keyed_args(job, workload->n_keys == 1 ? GAVEL_STR("GET") : GAVEL_STR("MGET"), args);
    size_t n = keyed_args(job, GAVEL_STR("HMGET"), args);
    args[n++] = GAVEL_STR("price");
    args[n++] = GAVEL_STR("bids");
    return n;
}

size_t job_write_args(struct job *job, gavel_bytes *args)
{
    const struct workload *workload = job->stage->workload;
    size_t n = 0;
    if (workload->is_hash) {
        args[n++] = GAVEL_STR("HSET");
        args[n++] = job_key(job, 0);
        args[n++] = GAVEL_STR("price");
        args[n++] = digits_of(job, 0, job->next[0]);
        args[n++] = GAVEL_STR("leader");
        args[n++] = GAVEL_STR("bidder");
        args[n++] = GAVEL_STR("bids");
        args[n++] = digits_of(job, 1, job->next[1]);
        return n;
    }
    args[n++] = workload->n_keys == 1 ? GAVEL_STR("SET") : GAVEL_STR("MSET");
    for (size_t i = 0; i < workload->n_keys; i++) {
        args[n++] = job_key(job, i);
        args[n++] = digits_of(job, i, job->next[i]);
    }
    return n;
}

size_t job_log_args(const struct job *job, gavel_bytes *args)
{
    size_t n = 0;
    args[n++] = GAVEL_STR("XADD");
    args[n++] = GAVEL_STR(LOG_KEY);
    args[n++] = GAVEL_STR("*");
    args[n++] = GAVEL_STR("item");
    args[n++] = job_key(job, 0);
    return n;
}

static bool take_integer(const gavel_reply *reply, int64_t *ret_value)
{
    if (reply->type != GAVEL_REPLY_STRING)
        return false;
    char *end;
    *ret_value = strtoll(reply->text.data, &end, 10);
    return end != reply->text.data && *end == '\0';
}

bool job_take_read(struct job *job, const gavel_reply *reply)
{
    if (reply->type != GAVEL_REPLY_ARRAY)
        return take_integer(reply, &job->seen[0]);
    return reply->n_elements == WORKLOAD_MAX && take_integer(&reply->elements[0], &job->seen[0]) &&
           take_integer(&reply->elements[1], &job->seen[1]);
}

bool job_is_written(const gavel_reply *reply)
{
    return reply->type == GAVEL_REPLY_STATUS || reply->type == GAVEL_REPLY_INTEGER ||
           reply->type == GAVEL_REPLY_STRING; /* a log's, the name of the entry */
}

size_t job_script_args(struct job *job, gavel_bytes *args)
{
    static const gavel_bytes counts[] = {{"0", 1}, {"1", 1}, {"2", 1}};
    bool has_log = job->stage->workload->has_log;
    size_t n = keyed_args(job, counts[job->stage->workload->n_keys + has_log], args);
    if (has_log)
        args[n++] = GAVEL_STR(LOG_KEY);
    if (job->stage->workload->decide == decide_counter)
        return n;
    args[n++] = digits_of(job, 0, job->amount);
    if (job->stage->workload->is_hash)
        args[n++] = GAVEL_STR("bidder");
    return n;
}

bool job_take_script(struct job *job, int64_t added)
{
    job->seen[0] = job->amount - added; /* an auction's: the price before */
    return added > 0;
}

static void add(struct job *job, size_t cell, int64_t value)
{
    atomic_fetch_add_explicit(&job->stage->told[cell], value, memory_order_relaxed);
}

void job_note_arrival(const struct job *job, int64_t start_ns)
{
    if (job->stage->arrivals != NULL && !job->is_read)
        arrivals_note(job->stage->arrivals, (uint64_t)job->seen[0], start_ns);
}

void job_tell(struct job *job, bool is_committed)
{
    struct stage *stage = job->stage;
    if (stage->workload->is_hash)
        atomic_store_explicit(&stage->shown[job->keys[0]],
            is_committed ? job->amount : job->seen[0], memory_order_relaxed);
    if (!is_committed || job->is_read)
        return;
    if (stage->workload->has_log)
        add(job, stage->n_cells - 1, 1);
    if (stage->workload->is_hash) {
        add(job, 2 * job->keys[0], job->amount - job->seen[0]);
        add(job, 2 * job->keys[0] + 1, 1);
    } else if (stage->workload->n_keys == 2) {
        add(job, job->keys[0], -job->amount);
        add(job, job->keys[1], job->amount);
    } else {
        add(job, job->keys[0], 1);
    }
}

/*
 * Random programs together and alone, on a real server: see programs/equivalence.h.
 */
#include "equivalence.h"
#include "prose.h"
#include "tools.h"

#include <criterion/criterion.h>
#include <ev.h>

#include <string.h>

typedef struct real_world {
    test_server *server;
    struct ev_loop *loop;
    gavel__buffer reply;
} real_world;

static void begin(void *user, uint64_t seed)
{
    (void)seed;
    real_world *self = user;
    server_do(self->server, "FLUSHALL", NULL);
}

static void end(void *user)
{
    (void)user;
}

static gavel_client *open_client(void *user, const gavel_config *config, bool is_blocking)
{
    real_world *self = user;
    gavel_config own = *config;
    own.loop = is_blocking ? NULL : self->loop;
    return live_open(server_url(self->server), &own);
}

static void pass(void *user)
{
    real_world *self = user;
    ev_run(self->loop, EVRUN_NOWAIT);
}

/* The loop keeps turning for as long as the client is busy; it ends by the deadlines. */
static void wait_until(void *user, const size_t *n_told, size_t n)
{
    real_world *self = user;
    bool is_busy = true;
    while (*n_told < n && is_busy)
        is_busy = ev_run(self->loop, EVRUN_ONCE);
    cr_assert_geq(*n_told, n, "the loop came to its end, and not all were told");
}

static void say_as_on_the_wire(gavel__buffer *text, const redisReply *reply)
{
    gavel_bytes bytes = {reply->str, reply->len};
    switch (reply->type) {
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
        prose_say(text, "%c%s\r\n", reply->type == REDIS_REPLY_STATUS ? '+' : '-', reply->str);
        break;
    case REDIS_REPLY_INTEGER:
        prose_say(text, ":%lld\r\n", reply->integer);
        break;
    case REDIS_REPLY_STRING:
        prose_say(text, "$%zu\r\n", bytes.size);
        gavel__buffer_append(text, bytes);
        prose_say(text, "\r\n");
        break;
    case REDIS_REPLY_ARRAY:
        prose_say(text, "*%zu\r\n", reply->elements);
        for (size_t i = 0; i < reply->elements; i++)
            say_as_on_the_wire(text, reply->element[i]);
        break;
    default:
        prose_say(text, "$-1\r\n");
    }
}

static const char *ask(void *user, const gavel_bytes *args, size_t n_args)
{
    real_world *self = user;
    redisReply *reply = server_command_bytes(self->server, args, n_args);
    gavel__buffer_clear(&self->reply);
    say_as_on_the_wire(&self->reply, reply);
    freeReplyObject(reply);
    return prose_string(&self->reply);
}

static size_t count_keys(void *user)
{
    real_world *self = user;
    redisReply *keys = server_command(self->server, "KEYS", "*", NULL);
    size_t n = 0;
    for (size_t i = 0; i < keys->elements; i++)
        n += !equivalence_ignores(gavel_str(keys->element[i]->str));
    freeReplyObject(keys);
    return n;
}

Test(equivalence, rounds_come_to_the_same_as_one_after_another)
{
    real_world self = {
        .server = server_start(NULL), .loop = ev_loop_new(EVFLAG_AUTO), .reply = prose_begin()};
    equivalence_play_seeds(&(programs_world){.self = &self,
                               .is_real = true,
                               .begin = begin,
                               .end = end,
                               .open = open_client,
                               .pass = pass,
                               .wait = wait_until,
                               .ask = ask,
                               .count_keys = count_keys},
        400);
    gavel__buffer_finish(&self.reply);
    ev_loop_destroy(self.loop);
    server_stop(self.server);
}

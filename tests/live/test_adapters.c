/*
 * Polled clients on other event loops, by the adapters: the same scenes on each loop whose library
 * is there. A loop runs until a callback has ended it; a test that hangs fails.
 */
#include "tools.h"

#include <gavel/adapters/epoll.h>

#include <criterion/criterion.h>

#include <unistd.h>

#ifdef TEST_HAS_GLIB
#include <gavel/adapters/glib.h>
#endif
#ifdef TEST_HAS_LIBEVENT
#include <gavel/adapters/libevent.h>
#endif
#ifdef TEST_HAS_LIBUV
#include <gavel/adapters/libuv.h>
#endif

#define N_JOBS 100

/* One kind of loop. */
typedef struct loop_kind {
    void (*open)(void);
    void (*attach)(gavel_client *client);
    void (*detach)(void);
    void (*run)(void); /* until it is detached */
    void (*close)(void);
} loop_kind;

/* ---- Loops ---------------------------------------------------------------------------------- */

static int epoll_fd;
static gavel_client *epoll_client; /* NULL: detached */

static void open_epoll(void)
{
    epoll_fd = epoll_create1(0);
}

static void attach_epoll(gavel_client *client)
{
    epoll_client = client;
    cr_assert(gavel_epoll_attach(client, epoll_fd, client));
}

static void detach_epoll(void)
{
    gavel_epoll_detach(epoll_client, epoll_fd);
    epoll_client = NULL;
}

static void run_epoll(void)
{
    struct epoll_event event;
    while (epoll_client != NULL) {
        cr_assert_eq(epoll_wait(epoll_fd, &event, 1, -1), 1);
        cr_assert_eq(event.data.ptr, epoll_client);
        gavel_turn(epoll_client);
    }
}

static void close_epoll(void)
{
    close(epoll_fd);
}

static const loop_kind on_epoll = {open_epoll, attach_epoll, detach_epoll, run_epoll, close_epoll};

#ifdef TEST_HAS_GLIB
static GMainLoop *glib_loop;
static GSource *glib_source;

static void open_glib(void)
{
    GMainContext *context = g_main_context_new();
    glib_loop = g_main_loop_new(context, FALSE);
    g_main_context_unref(context);
}

static void attach_glib(gavel_client *client)
{
    glib_source = gavel_glib_attach(client, g_main_loop_get_context(glib_loop));
    cr_assert_not_null(glib_source);
}

static void detach_glib(void)
{
    gavel_glib_detach(glib_source);
    g_main_loop_quit(glib_loop);
}

static void run_glib(void)
{
    g_main_loop_run(glib_loop);
}

static void close_glib(void)
{
    g_main_loop_unref(glib_loop);
}

static const loop_kind on_glib = {open_glib, attach_glib, detach_glib, run_glib, close_glib};
#endif

#ifdef TEST_HAS_LIBEVENT
static struct event_base *event_base;
static struct event *event;

static void open_libevent(void)
{
    event_base = event_base_new();
}

static void attach_libevent(gavel_client *client)
{
    event = gavel_libevent_attach(client, event_base);
    cr_assert_not_null(event);
}

static void detach_libevent(void)
{
    gavel_libevent_detach(event);
}

static void run_libevent(void)
{
    event_base_dispatch(event_base);
}

static void close_libevent(void)
{
    event_base_free(event_base);
}

static const loop_kind on_libevent = {
    open_libevent, attach_libevent, detach_libevent, run_libevent, close_libevent};
#endif

#ifdef TEST_HAS_LIBUV
static uv_loop_t uv_loop;
static gavel_libuv *uv_adapter;

static void open_libuv(void)
{
    cr_assert_eq(uv_loop_init(&uv_loop), 0);
}

static void attach_libuv(gavel_client *client)
{
    uv_adapter = gavel_libuv_attach(client, &uv_loop);
    cr_assert_not_null(uv_adapter);
}

static void detach_libuv(void)
{
    gavel_libuv_detach(uv_adapter);
}

static void run_libuv(void)
{
    uv_run(&uv_loop, UV_RUN_DEFAULT);
}

static void close_libuv(void)
{
    cr_expect_eq(uv_loop_close(&uv_loop), 0, "the adapter has left something there");
}

static const loop_kind on_libuv = {open_libuv, attach_libuv, detach_libuv, run_libuv, close_libuv};
#endif

/* ---- Scenes --------------------------------------------------------------------------------- */

typedef struct scene {
    const loop_kind *kind;
    live_rig rig;
    gavel_bytes key;
    int n_to_submit;
    int n_told;
    int n_committed;
    bool closes_inside; /* in the last callback, else behind it */
} scene;

static gavel_verdict add_one(gavel_tx *tx, void *user)
{
    return live_add_one(tx, &((scene *)user)->key);
}

static void on_done(const gavel_outcome *outcome, void *user);

static void submit(scene *self)
{
    self->n_to_submit--;
    cr_assert_neq(gavel_submit(self->rig.client,
                      &(gavel_transaction){.body = add_one,
                          .user = self,
                          .reads = &(gavel_read){.key = self->key},
                          .n_reads = 1},
                      on_done),
        0);
}

/* Half of them were submitted before the loop ran, half are by callbacks. */
static void on_done(const gavel_outcome *outcome, void *user)
{
    scene *self = user;
    self->n_told++;
    self->n_committed += outcome->status == GAVEL_COMMITTED;
    if (self->n_to_submit > 0)
        submit(self);
    if (self->n_told < N_JOBS)
        return;
    self->kind->detach();
    if (self->closes_inside) {
        gavel_close(self->rig.client);
        self->rig.client = NULL;
    }
}

static void play(const loop_kind *kind, bool closes_inside)
{
    scene self = {.kind = kind,
        .rig = live_begin(NULL, &(gavel_config){.is_polled = true}),
        .key = GAVEL_STR("key"),
        .n_to_submit = N_JOBS,
        .closes_inside = closes_inside};
    kind->open();
    kind->attach(self.rig.client);
    while (self.n_to_submit > N_JOBS / 2)
        submit(&self);
    kind->run();
    cr_expect_eq(self.n_told, N_JOBS);
    cr_expect_eq(self.n_committed, N_JOBS);
    cr_expect_eq(server_int(self.rig.server, "GET", "key", NULL), N_JOBS);
    kind->close();
    live_end(&self.rig);
}

/* A client may go from one loop to another, and its work with it. */
static void play_twice(const loop_kind *kind)
{
    scene self = {.kind = kind,
        .rig = live_begin(NULL, &(gavel_config){.is_polled = true}),
        .key = GAVEL_STR("key")};
    for (int i = 1; i <= 2; i++) {
        self.n_told = N_JOBS - 1;
        kind->open();
        kind->attach(self.rig.client);
        submit(&self);
        kind->run();
        kind->close();
        cr_expect_eq(self.n_committed, i);
    }
    live_end(&self.rig);
}

#define SCENES_ON(name)                                                                            \
    Test(adapters, name##_tells_each_once, .timeout = 60)                                          \
    {                                                                                              \
        play(&on_##name, false);                                                                   \
    }                                                                                              \
    Test(adapters, name##_is_left_in_a_callback, .timeout = 60)                                    \
    {                                                                                              \
        play(&on_##name, true);                                                                    \
    }                                                                                              \
    Test(adapters, name##_is_left_for_another, .timeout = 60)                                      \
    {                                                                                              \
        play_twice(&on_##name);                                                                    \
    }

SCENES_ON(epoll)
#ifdef TEST_HAS_GLIB
SCENES_ON(glib)
#endif
#ifdef TEST_HAS_LIBEVENT
SCENES_ON(libevent)
#endif
#ifdef TEST_HAS_LIBUV
SCENES_ON(libuv)
#endif

/* ---- Misuse --------------------------------------------------------------------------------- */

Test(adapters, refuse_a_client_that_is_not_polled)
{
    gavel_client *client = live_open("unix:///nowhere", NULL);
    open_epoll();
    cr_expect_not(gavel_epoll_attach(client, epoll_fd, client));
    gavel_epoll_detach(client, epoll_fd);
    close_epoll();
#ifdef TEST_HAS_GLIB
    cr_expect_null(gavel_glib_attach(client, NULL));
    gavel_glib_detach(NULL);
#endif
#ifdef TEST_HAS_LIBEVENT
    open_libevent();
    cr_expect_null(gavel_libevent_attach(client, event_base));
    gavel_libevent_detach(NULL);
    close_libevent();
#endif
#ifdef TEST_HAS_LIBUV
    open_libuv();
    cr_expect_null(gavel_libuv_attach(client, &uv_loop));
    gavel_libuv_detach(NULL);
    close_libuv();
#endif
    gavel_close(client);
}

/*
 * Directories: see the header.
 */
#include "client/directory.h"

#include "base/memory.h"
#include "base/text.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

/* For so long an answer is taken to be true without asking again. */
static const int64_t max_age_us = 5000000;

/* ---- Look-ups ------------------------------------------------------------------------------ */

/* In malloc's memory: the client, and its allocator, may be gone before it is answered. */
struct gavel__lookup {
    pthread_mutex_t mutex;
    int n_users; /* the directory, whoever is to answer */
    bool is_answered;
    gavel__endpoint *endpoints;
    size_t n_endpoints;
    char message[GAVEL_MESSAGE_SIZE];
    void (*wake)(void *waker); /* NULL: there is nobody to be woken */
    void *waker;
    int port;
    char host[]; /* a copy */
};

/* NULL: no memory. For two users. */
static gavel__lookup *create_lookup(const gavel__address *address)
{
    size_t host_size = strlen(address->host) + 1;
    gavel__lookup *lookup = gavel__alloc(&gavel__system_allocator, 1, sizeof(*lookup) + host_size);
    if (lookup == NULL)
        return NULL;
    pthread_mutex_init(&lookup->mutex, NULL);
    lookup->n_users = 2;
    lookup->port = address->port;
    memcpy(lookup->host, address->host, host_size);
    return lookup;
}

static void free_lookup(gavel__lookup *lookup)
{
    gavel__free(&gavel__system_allocator, lookup->endpoints);
    gavel__free(&gavel__system_allocator, lookup);
}

/* One user less; with the mutex held, which is given up. */
static void leave_lookup(gavel__lookup *lookup)
{
    bool is_last = --lookup->n_users == 0;
    pthread_mutex_unlock(&lookup->mutex);
    if (!is_last)
        return;
    pthread_mutex_destroy(&lookup->mutex);
    free_lookup(lookup);
}

void gavel__lookup_answer(
    gavel__lookup *lookup, const gavel__endpoint *endpoints, size_t n, const char *message)
{
    pthread_mutex_lock(&lookup->mutex);
    assert(!lookup->is_answered && n <= GAVEL__ENDPOINTS_MAX);
    gavel__format(lookup->message, sizeof(lookup->message), "%s", message);
    if (n > 0) {
        lookup->endpoints = gavel__alloc(&gavel__system_allocator, n, sizeof(*endpoints));
        if (lookup->endpoints != NULL)
            memcpy(lookup->endpoints, endpoints, n * sizeof(*endpoints));
        else
            gavel__format(lookup->message, sizeof(lookup->message), "no memory");
    }
    lookup->n_endpoints = lookup->endpoints != NULL ? n : 0;
    lookup->is_answered = true;
    if (lookup->wake != NULL)
        lookup->wake(lookup->waker); /* under the mutex, so that the waker is still there */
    leave_lookup(lookup);
}

static void *look_up(void *argument)
{
    gavel__lookup *lookup = argument;
    gavel__endpoint endpoints[GAVEL__ENDPOINTS_MAX];
    char message[GAVEL_MESSAGE_SIZE] = "";
    size_t n = gavel__endpoints_look_up(lookup->host, lookup->port, endpoints, message);
    gavel__lookup_answer(lookup, endpoints, n, message);
    return NULL;
}

void gavel__look_up_on_thread(void *user, gavel__lookup *lookup)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all;
    sigset_t before;
    (void)user;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    /* The program's signals are for the program's threads. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool is_begun = pthread_create(&thread, &attributes, look_up, lookup) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (!is_begun)
        gavel__lookup_answer(lookup, NULL, 0, "no thread to look the host's address up");
}

/* ---- What is known ------------------------------------------------------------------------- */

static bool is_fixed(const gavel__directory *directory)
{
    return directory->endpoints == &directory->fixed;
}

void gavel__directory_init(gavel__directory *directory)
{
    directory->pending = NULL;
    directory->endpoints = NULL;
    directory->n_endpoints = 0;
    directory->good = 0;
    directory->version = 0;
    directory->message[0] = '\0';
    if (directory->address->host == NULL && directory->address->path == NULL)
        return; /* it is not known yet */
    if (!gavel__endpoint_of(directory->address, &directory->fixed))
        return;
    directory->endpoints = &directory->fixed;
    directory->n_endpoints = 1;
}

void gavel__directory_finish(gavel__directory *directory, bool is_child)
{
    gavel__lookup *pending = directory->pending;
    directory->pending = NULL;
    if (pending != NULL && is_child) {
        free_lookup(pending); /* its thread is not in this process, and may have held the mutex */
    } else if (pending != NULL) {
        pthread_mutex_lock(&pending->mutex);
        pending->wake = NULL;
        leave_lookup(pending);
    }
    if (!is_fixed(directory))
        gavel__free(&gavel__system_allocator, directory->endpoints);
    directory->endpoints = NULL;
}

/* The place among the endpoints, or 0. */
static size_t find_endpoint(
    const gavel__endpoint *endpoints, size_t n, const gavel__endpoint *wanted)
{
    for (size_t i = 0; i < n; i++) {
        if (endpoints[i].size == wanted->size &&
            memcmp(&endpoints[i].address, &wanted->address, wanted->size) == 0)
            return i;
    }
    return 0;
}

/* A look-up that has failed changes nothing: what was true a while ago may still be. */
static void take_answer(gavel__directory *directory, gavel__lookup *lookup, int64_t now_us)
{
    gavel__format(directory->message, sizeof(directory->message), "%s", lookup->message);
    if (lookup->n_endpoints == 0)
        return;
    size_t good = 0;
    if (directory->n_endpoints > 0)
        good = find_endpoint(
            lookup->endpoints, lookup->n_endpoints, &directory->endpoints[directory->good]);
    gavel__free(&gavel__system_allocator, directory->endpoints);
    directory->endpoints = lookup->endpoints;
    directory->n_endpoints = lookup->n_endpoints;
    directory->good = good;
    directory->version++;
    directory->answered_us = now_us;
    lookup->endpoints = NULL;
}

static void take_pending(gavel__directory *directory, int64_t now_us)
{
    gavel__lookup *lookup = directory->pending;
    if (lookup == NULL)
        return;
    pthread_mutex_lock(&lookup->mutex);
    if (!lookup->is_answered) {
        pthread_mutex_unlock(&lookup->mutex);
        return;
    }
    directory->pending = NULL;
    take_answer(directory, lookup, now_us);
    leave_lookup(lookup);
}

/* Unless one is under way, or there is nothing to be looked up, or nothing yet. */
static void begin_lookup(gavel__directory *directory)
{
    if (is_fixed(directory) || directory->pending != NULL || directory->address->host == NULL)
        return;
    gavel__lookup *lookup = create_lookup(directory->address);
    if (lookup == NULL) {
        gavel__format(directory->message, sizeof(directory->message), "no memory");
        return;
    }
    directory->pending = lookup;
    directory->look_up(directory->resolver, lookup);
    /* Only now: for an answer that is there already nobody has to be woken. */
    pthread_mutex_lock(&lookup->mutex);
    lookup->waker = directory->waker;
    lookup->wake = directory->wake;
    pthread_mutex_unlock(&lookup->mutex);
}

/* ---- Dials --------------------------------------------------------------------------------- */

void gavel__directory_begin(gavel__directory *directory, gavel__route *route, int64_t now_us)
{
    take_pending(directory, now_us);
    *route = (gavel__route){.version = directory->version};
    if (directory->n_endpoints == 0 || now_us - directory->answered_us > max_age_us)
        begin_lookup(directory);
}

/* The first one that was not tried; the number of endpoints, if there is none. */
static size_t find_untried(const gavel__directory *directory, const gavel__route *route)
{
    uint32_t tried = route->version == directory->version ? route->tried : 0;
    if (directory->n_endpoints > 0 && (tried >> directory->good & 1) == 0)
        return directory->good;
    size_t i = 0;
    while (i < directory->n_endpoints && (tried >> i & 1) != 0)
        i++;
    return i;
}

gavel__directory_answer gavel__directory_next(
    gavel__directory *directory, gavel__route *route, int64_t now_us, gavel__endpoint *ret_endpoint)
{
    take_pending(directory, now_us);
    if (directory->pending != NULL && directory->n_endpoints == 0)
        return GAVEL__DIRECTORY_ANSWER_LATER;
    size_t place = find_untried(directory, route);
    if (place == directory->n_endpoints)
        return GAVEL__DIRECTORY_ANSWER_NONE;
    if (route->version != directory->version)
        *route = (gavel__route){.version = directory->version};
    route->tried |= UINT32_C(1) << place;
    route->current = (uint32_t)place;
    *ret_endpoint = directory->endpoints[place];
    return GAVEL__DIRECTORY_ANSWER_ENDPOINT;
}

bool gavel__directory_on_failure(gavel__directory *directory, gavel__route *route)
{
    if (find_untried(directory, route) < directory->n_endpoints)
        return true;
    begin_lookup(directory);
    return false;
}

void gavel__directory_on_good(gavel__directory *directory, const gavel__route *route)
{
    if (route->version == directory->version)
        directory->good = route->current;
}

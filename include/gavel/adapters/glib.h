/*
 * A polled client on a GLib main context. Needs GLib 2.36; the program links it, gavel does not.
 *
 *     gavel_client *client = gavel_open(url, &(gavel_config){.is_polled = true}, &error);
 *     GSource *source = gavel_glib_attach(client, NULL);
 *     gavel_submit(client, &transaction, on_done);
 *     g_main_loop_run(loop);
 *     ...
 *     gavel_glib_detach(source);
 *     gavel_close(client);
 *
 * All in the thread that runs the context. The source has the default priority, and is not served
 * by a main loop that runs inside a callback of gavel's.
 */
#ifndef GAVEL_ADAPTERS_GLIB_H
#define GAVEL_ADAPTERS_GLIB_H

#include <gavel/polled.h>

#include <glib.h>

typedef struct gavel_glib {
    GSource source;
    gavel_client *client;
} gavel_glib;

/* GLib's callback. */
static inline gboolean gavel_glib_dispatch(GSource *source, GSourceFunc callback, gpointer user)
{
    (void)callback;
    (void)user;
    gavel_turn(((gavel_glib *)source)->client);
    return G_SOURCE_CONTINUE;
}

/* Has the context (NULL: the default one) turn the client. NULL: the client is not polled; see its
 * log. The source is for gavel_glib_detach. */
static inline GSource *gavel_glib_attach(gavel_client *client, GMainContext *context)
{
    static GSourceFuncs functions = {NULL, NULL, gavel_glib_dispatch, NULL, NULL, NULL};
    int fd = gavel_fd(client);
    if (fd < 0)
        return NULL;
    GSource *source = g_source_new(&functions, sizeof(gavel_glib));
    ((gavel_glib *)source)->client = client;
    g_source_add_unix_fd(source, fd, G_IO_IN);
    g_source_attach(source, context);
    return source;
}

/* Takes the client out of its context, from which it may be closed, and frees the source; legal in
 * a callback of gavel's. Takes NULL. */
static inline void gavel_glib_detach(GSource *source)
{
    if (source == NULL)
        return;
    g_source_destroy(source);
    g_source_unref(source);
}

#endif

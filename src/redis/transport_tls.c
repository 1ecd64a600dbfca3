/*
 * The transport over TLS, through OpenSSL. For gavel__dial_socket; built only where OpenSSL is.
 *
 * Not through hiredis_ssl, which before hiredis 1.4 cannot check whose certificate it is, and whose
 * writes do not tell how many bytes have left: that tells NOT_SENT from UNKNOWN.
 *
 * The authorities are the system's; OpenSSL's SSL_CERT_FILE and SSL_CERT_DIR name others. They are
 * read once in the life of the process, at the first connection, because reading them takes long.
 */
#include "redis/socket.h"

#include "base/text.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct tls {
    gavel__transport base;
    const gavel_allocator *allocator; /* borrowed */
    SSL *ssl;
    bool is_tcp_connected;
} tls;

/* ---- SIGPIPE ------------------------------------------------------------------------------- */

/* OpenSSL writes with write(), so a lost connection raises SIGPIPE in the writing thread. It is
 * held back around each call, and taken away unless the program had one pending itself. */
typedef struct signal_hold {
    sigset_t old_mask;
    bool had_pending;
} signal_hold;

static sigset_t sigpipe_set(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    return set;
}

static void hold_sigpipe(signal_hold *hold)
{
    sigset_t set = sigpipe_set();
    sigset_t pending;
    sigpending(&pending);
    hold->had_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &set, &hold->old_mask);
}

static void release_sigpipe(const signal_hold *hold)
{
    static const struct timespec now = {0, 0};
    sigset_t set = sigpipe_set();
    int error = errno;
    if (!hold->had_pending) {
        while (sigtimedwait(&set, NULL, &now) < 0 && errno == EINTR)
            continue;
    }
    pthread_sigmask(SIG_SETMASK, &hold->old_mask, NULL);
    errno = error;
}

/* ---- What OpenSSL says --------------------------------------------------------------------- */

static void explain(const tls *self, int ssl_error, char message[GAVEL_MESSAGE_SIZE])
{
    int system_error = errno;
    unsigned long error = ERR_peek_last_error();
    long verdict = SSL_get_verify_result(self->ssl);
    if (verdict != X509_V_OK) {
        gavel__format(message, GAVEL_MESSAGE_SIZE, "the server's certificate is not valid: %s",
            X509_verify_cert_error_string(verdict));
    } else if (ssl_error == SSL_ERROR_ZERO_RETURN || (error == 0 && system_error == 0)) {
        strcpy(message, "the connection was closed by the server");
    } else if (error != 0) {
        const char *reason = ERR_reason_error_string(error);
        gavel__format(message, GAVEL_MESSAGE_SIZE, "TLS: %s", reason != NULL ? reason : "failed");
    } else {
        gavel__socket_explain(system_error, message);
    }
    ERR_clear_error();
}

/* Each call begins with an empty error queue and errno, as SSL_get_error wants it. */
static void begin_call(signal_hold *hold)
{
    hold_sigpipe(hold);
    ERR_clear_error();
    errno = 0;
}

static bool would_block(int ssl_error)
{
    return ssl_error == SSL_ERROR_WANT_READ || ssl_error == SSL_ERROR_WANT_WRITE;
}

/* ---- The transport ------------------------------------------------------------------------- */

static gavel__progress tls_connect(gavel__transport *transport)
{
    tls *self = (tls *)transport;
    if (!self->is_tcp_connected) {
        gavel__progress progress = gavel__socket_connect(transport->fd, transport->message);
        if (progress != GAVEL__PROGRESS_DONE)
            return progress;
        self->is_tcp_connected = true;
    }
    signal_hold hold;
    begin_call(&hold);
    int n = SSL_connect(self->ssl);
    int error = n == 1 ? SSL_ERROR_NONE : SSL_get_error(self->ssl, n);
    release_sigpipe(&hold);

    transport->awaits_read = error == SSL_ERROR_WANT_READ;
    if (error == SSL_ERROR_NONE)
        return GAVEL__PROGRESS_DONE;
    if (would_block(error))
        return GAVEL__PROGRESS_UNDER_WAY;
    explain(self, error, transport->message);
    return GAVEL__PROGRESS_FAILED;
}

/* One record at a time: either the kernel took the whole of it, or the server cannot read it. */
static long tls_send(gavel__transport *transport, const char *data, size_t size)
{
    tls *self = (tls *)transport;
    signal_hold hold;
    begin_call(&hold);
    int n = SSL_write(self->ssl, data, size < INT_MAX ? (int)size : INT_MAX);
    int error = n > 0 ? SSL_ERROR_NONE : SSL_get_error(self->ssl, n);
    release_sigpipe(&hold);
    if (n > 0)
        return n;
    return would_block(error) ? GAVEL__TRANSPORT_WOULD_BLOCK : GAVEL__TRANSPORT_BROKEN;
}

/* A record is at most 16 KiB, so a caller with at least that much room never leaves decrypted bytes
 * behind, of which the fd would not tell. */
static long tls_receive(gavel__transport *transport, char *data, size_t size, bool wait)
{
    tls *self = (tls *)transport;
    (void)wait;
    signal_hold hold;
    begin_call(&hold);
    int n = SSL_read(self->ssl, data, size < INT_MAX ? (int)size : INT_MAX);
    int error = n > 0 ? SSL_ERROR_NONE : SSL_get_error(self->ssl, n);
    release_sigpipe(&hold);
    if (n > 0)
        return n;
    if (would_block(error))
        return GAVEL__TRANSPORT_WOULD_BLOCK;
    explain(self, error, transport->message);
    return GAVEL__TRANSPORT_BROKEN;
}

/* Says no good-bye to the server: after a fork, that would end the parent's session. */
static void tls_close(gavel__transport *transport)
{
    tls *self = (tls *)transport;
    SSL_free(self->ssl);
    close(transport->fd);
    gavel__free(self->allocator, self);
}

static const gavel__transport_ops tls_ops = {
    .connect = tls_connect,
    .send = tls_send,
    .receive = tls_receive,
    .close = tls_close,
};

/* ---- Setting up ---------------------------------------------------------------------------- */

static pthread_once_t context_once = PTHREAD_ONCE_INIT;
static SSL_CTX *context; /* NULL: it could not be made; lives as long as the process */

static void create_context(void)
{
    SSL_CTX *fresh = SSL_CTX_new(TLS_client_method());
    if (fresh == NULL)
        return;
    if (SSL_CTX_set_default_verify_paths(fresh) != 1 ||
        SSL_CTX_set_min_proto_version(fresh, TLS1_2_VERSION) != 1) {
        SSL_CTX_free(fresh);
        return;
    }
    SSL_CTX_set_verify(fresh, SSL_VERIFY_PEER, NULL);
    /* Without renegotiation, reading never waits for writing, nor the other way round. */
    SSL_CTX_set_options(fresh, SSL_OP_NO_RENEGOTIATION);
#ifdef SSL_OP_IGNORE_UNEXPECTED_EOF
    /* A server that dies says no good-bye. RESP tells by itself whether a reply is whole. */
    SSL_CTX_set_options(fresh, SSL_OP_IGNORE_UNEXPECTED_EOF);
#endif
    SSL_CTX_set_mode(fresh, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    context = fresh;
}

/* The certificate must be for this host, by name or by address. A name is also sent along. */
static bool demand_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *parameters = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(parameters, host) == 1)
        return true;
    ERR_clear_error();
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

gavel__transport *gavel__tls_create(
    int fd, const gavel__address *address, const gavel_allocator *allocator, gavel_error *ret_error)
{
    pthread_once(&context_once, create_context);
    tls *self = gavel__alloc(allocator, 1, sizeof(*self));
    SSL *ssl = context != NULL ? SSL_new(context) : NULL;
    if (self == NULL || ssl == NULL || !demand_host(ssl, address->host) ||
        SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        gavel__free(allocator, self);
        ERR_clear_error();
        strcpy(ret_error->message, "TLS could not be set up");
        return NULL;
    }
    self->base = (gavel__transport){.ops = &tls_ops, .fd = fd};
    self->allocator = allocator;
    self->ssl = ssl;
    return &self->base;
}

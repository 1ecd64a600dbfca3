/*
 * The transport over TLS, through OpenSSL. For gavel__dial_socket; built only where OpenSSL is.
 *
 * Not through hiredis_ssl, which before hiredis 1.4 cannot check whose certificate it is, and whose
 * writes do not tell how many bytes have left: that tells NOT_SENT from UNKNOWN.
 *
 * A fault that stays the same however often one connects (a certificate, a port that speaks no TLS)
 * is final, and is told with what to do.
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
    gavel__tls *shared;               /* the client's */
    char *host;                       /* that is dialled */
    SSL *ssl;                         /* NULL until TCP is connected */
    bool is_connected;                /* the handshake is over */
    bool is_asked_for_ours;           /* the server wants to see a certificate */
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

/* The server's certificate was not taken. What is to be done about it, by far the most often. */
static void explain_verdict(const tls *self, long verdict, char message[GAVEL_MESSAGE_SIZE])
{
    const char *what = X509_verify_cert_error_string(verdict);
    switch (verdict) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        what = "signed by an authority that is not trusted here: name its file as ca_file";
        break;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        what = "self-signed: to trust it, name its file as ca_file";
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        what = "expired: it has to be renewed at the server";
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        what = "not valid yet: are both machines' clocks right?";
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        gavel__format(message, GAVEL_MESSAGE_SIZE,
            "the server's certificate is not for %.48s: name one that it is for as server_name",
            gavel__tls_name(self->shared, self->host));
        return;
    }
    gavel__format(message, GAVEL_MESSAGE_SIZE, "the server's certificate is %s", what);
}

/* Whether the server's last word concerns certificates (RFC 8446, section 6.2). */
static bool is_about_certificates(int alert)
{
    return (alert >= SSL_AD_BAD_CERTIFICATE && alert <= SSL_AD_CERTIFICATE_UNKNOWN) ||
           alert == SSL_AD_UNKNOWN_CA || alert == SSL_AD_ACCESS_DENIED ||
           alert == TLS13_AD_CERTIFICATE_REQUIRED;
}

/* The server's last word, a number; 0: it was not its word that ended the connection. */
static int alert_of(unsigned long error)
{
    int reason = ERR_GET_REASON(error);
    bool is_alert = ERR_GET_LIB(error) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET &&
                    reason < SSL_AD_REASON_OFFSET + 256;
    return is_alert ? reason - SSL_AD_REASON_OFFSET : 0;
}

static void explain_alert(const tls *self, unsigned long error, char message[GAVEL_MESSAGE_SIZE])
{
    const char *own = gavel__tls_get_options(self->shared)->cert_file;
    const char *reason = ERR_reason_error_string(error);
    if (reason == NULL)
        reason = "TLS failed";
    if (self->is_asked_for_ours && own == NULL)
        gavel__format(message, GAVEL_MESSAGE_SIZE,
            "the server demands a client's certificate: set cert_file and key_file (%s)", reason);
    else if (is_about_certificates(alert_of(error)))
        gavel__format(message, GAVEL_MESSAGE_SIZE,
            "the server refused our certificate, cert_file %.64s: %s", own != NULL ? own : "(none)",
            reason);
    else
        gavel__format(message, GAVEL_MESSAGE_SIZE, "the server refused TLS: %s", reason);
}

/* Nothing but the handshake can go wrong by how it was set up. An internal error may pass. */
static bool is_final_error(const tls *self, unsigned long error)
{
    int alert = alert_of(error);
    if (self->is_connected)
        return is_about_certificates(alert);
    return ERR_GET_LIB(error) == ERR_LIB_SSL && alert != SSL_AD_INTERNAL_ERROR;
}

/* What came does not begin as TLS does. */
static bool is_plain(unsigned long error)
{
    int reason = ERR_GET_REASON(error);
    return ERR_GET_LIB(error) == ERR_LIB_SSL &&
           (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST);
}

/* Sets the transport's message, and whether that is final. */
static void explain(tls *self, int ssl_error)
{
    int system_error = errno;
    unsigned long error = ERR_peek_last_error();
    long verdict = SSL_get_verify_result(self->ssl);
    char *message = self->base.message;
    bool is_refused = verdict != X509_V_OK && !gavel__tls_get_options(self->shared)->is_insecure;
    self->base.is_final = is_refused || is_final_error(self, error);
    if (is_refused) {
        explain_verdict(self, verdict, message);
    } else if (ssl_error == SSL_ERROR_ZERO_RETURN || (error == 0 && system_error == 0)) {
        strcpy(message, "the connection was closed by the server");
    } else if (alert_of(error) != 0) {
        explain_alert(self, error, message);
    } else if (is_plain(error)) {
        strcpy(message,
            "the server does not speak TLS on this port: begin the URL with redis, not rediss, or "
            "use its port for TLS");
    } else if (error != 0) {
        const char *reason = ERR_reason_error_string(error);
        gavel__format(message, GAVEL_MESSAGE_SIZE, "TLS: %s", reason != NULL ? reason : "failed");
    } else {
        gavel__socket_explain(system_error, message);
    }
    if (self->base.is_final)
        gavel__tls_forget(self->shared);
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

/* ---- Setting up ---------------------------------------------------------------------------- */

/* Called when the server wants to see a certificate. Ours, if there is one, is the context's. */
static int note_demand(SSL *ssl, void *transport)
{
    tls *self = transport;
    (void)ssl;
    self->is_asked_for_ours = true;
    return 1;
}

/* ---- The transport ------------------------------------------------------------------------- */

/* TCP is connected: what OpenSSL needs. */
static gavel__progress set_up(tls *self)
{
    gavel__transport *base = &self->base;
    if (!gavel__tls_load(self->shared, base->message, &base->is_final))
        return GAVEL__PROGRESS_FAILED;
    self->ssl = gavel__tls_begin(self->shared, self->host);
    if (self->ssl == NULL || SSL_set_fd(self->ssl, base->fd) != 1) {
        ERR_clear_error();
        strcpy(base->message, "TLS could not be set up");
        return GAVEL__PROGRESS_FAILED;
    }
    SSL_set_cert_cb(self->ssl, note_demand, self);
    return GAVEL__PROGRESS_DONE;
}

static gavel__progress shake_hands(tls *self)
{
    gavel__transport *base = &self->base;
    signal_hold hold;
    begin_call(&hold);
    int n = SSL_connect(self->ssl);
    int error = n == 1 ? SSL_ERROR_NONE : SSL_get_error(self->ssl, n);
    release_sigpipe(&hold);

    base->awaits_read = error == SSL_ERROR_WANT_READ;
    if (error == SSL_ERROR_NONE) {
        self->is_connected = true;
        return GAVEL__PROGRESS_DONE;
    }
    if (would_block(error))
        return GAVEL__PROGRESS_UNDER_WAY;
    explain(self, error);
    return GAVEL__PROGRESS_FAILED;
}

static gavel__progress tls_connect(gavel__transport *transport)
{
    tls *self = (tls *)transport;
    if (self->ssl == NULL) {
        gavel__progress progress = gavel__socket_connect(transport->fd, transport->message);
        if (progress == GAVEL__PROGRESS_DONE)
            progress = set_up(self);
        if (progress != GAVEL__PROGRESS_DONE)
            return progress;
    }
    return shake_hands(self);
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
    ERR_clear_error(); /* the program may look at it; receive says what it was */
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
    explain(self, error);
    return GAVEL__TRANSPORT_BROKEN;
}

/* Says no good-bye to the server: after a fork, that would end the parent's session. */
static void tls_close(gavel__transport *transport)
{
    tls *self = (tls *)transport;
    SSL_free(self->ssl);
    close(transport->fd);
    gavel__free(self->allocator, self->host);
    gavel__free(self->allocator, self);
}

static const gavel__transport_ops tls_ops = {
    .connect = tls_connect,
    .send = tls_send,
    .receive = tls_receive,
    .close = tls_close,
};

gavel__transport *gavel__tls_transport_create(int fd, const gavel__destination *destination,
    const gavel_allocator *allocator, gavel_error *ret_error)
{
    tls *self = gavel__alloc(allocator, 1, sizeof(*self));
    char *host = gavel__copy_string(allocator, destination->address->host);
    if (self == NULL || host == NULL) {
        gavel__free(allocator, self);
        gavel__free(allocator, host);
        strcpy(ret_error->message, "out of memory");
        return NULL;
    }
    self->base = (gavel__transport){.ops = &tls_ops, .fd = fd};
    self->allocator = allocator;
    self->shared = destination->tls;
    self->host = host;
    return &self->base;
}

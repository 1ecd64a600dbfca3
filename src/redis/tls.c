/*
 * TLS, what is read from files: see the header. Built only where OpenSSL is.
 *
 * The authorities are those of the client's options, else the system's; OpenSSL's SSL_CERT_FILE and
 * SSL_CERT_DIR name others in their place. Nothing here is the process's: a load that fails, for
 * want of a descriptor, say, is no matter of any other client, and is tried again.
 */
#include "redis/tls.h"

#include "base/text.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

struct gavel__tls {
    const gavel_allocator *allocator; /* borrowed */
    gavel__tls_options options;       /* with copies of the strings */
    SSL_CTX *context;                 /* NULL: not loaded */
    size_t hello_size; /* of the first message, without a name or what fills it; 0: not known */
};

bool gavel__has_tls(void)
{
    return true;
}

/* ---- Life ---------------------------------------------------------------------------------- */

/* Puts a copy in its place; NULL stays NULL. */
static bool replace_string(const gavel_allocator *allocator, const char **string)
{
    if (*string == NULL)
        return true;
    *string = gavel__copy_string(allocator, *string);
    return *string != NULL;
}

/* The strings are copies, and so may be freed. */
static void free_string(const gavel_allocator *allocator, const char *string)
{
    gavel__free(allocator, (char *)(uintptr_t)string);
}

gavel__tls *gavel__tls_create(const gavel__tls_options *options, const gavel_allocator *allocator)
{
    gavel__tls *tls = gavel__alloc(allocator, 1, sizeof(*tls));
    if (tls == NULL)
        return NULL;
    tls->allocator = allocator;
    tls->options = *options;
    /* All are replaced, also behind one that fails: none may stay the caller's. */
    bool is_copied = replace_string(allocator, &tls->options.ca_file);
    is_copied &= replace_string(allocator, &tls->options.ca_folder);
    is_copied &= replace_string(allocator, &tls->options.cert_file);
    is_copied &= replace_string(allocator, &tls->options.key_file);
    is_copied &= replace_string(allocator, &tls->options.server_name);
    if (!is_copied) {
        gavel__tls_destroy(tls);
        return NULL;
    }
    return tls;
}

void gavel__tls_destroy(gavel__tls *tls)
{
    if (tls == NULL)
        return;
    gavel__tls_forget(tls);
    free_string(tls->allocator, tls->options.ca_file);
    free_string(tls->allocator, tls->options.ca_folder);
    free_string(tls->allocator, tls->options.cert_file);
    free_string(tls->allocator, tls->options.key_file);
    free_string(tls->allocator, tls->options.server_name);
    gavel__free(tls->allocator, tls);
}

const gavel__tls_options *gavel__tls_get_options(const gavel__tls *tls)
{
    return &tls->options;
}

/* Connections that are open have their own share in it. */
void gavel__tls_forget(gavel__tls *tls)
{
    SSL_CTX_free(tls->context);
    tls->context = NULL;
}

/* ---- What is wrong with a file ------------------------------------------------------------- */

/* One load: the context so far, and what is to be told if it fails. */
typedef struct load {
    SSL_CTX *context;
    const gavel__tls_options *options;
    char *message; /* GAVEL_MESSAGE_SIZE */
    bool is_final;
} load;

static bool may_pass(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == EINTR;
}

static bool fail_system(load *self, const char *option, const char *path, int error)
{
    char words[96];
    if (strerror_r(error, words, sizeof(words)) != 0)
        gavel__format(words, sizeof(words), "system error %d", error);
    self->is_final = !may_pass(error);
    gavel__format(self->message, GAVEL_MESSAGE_SIZE, "%s %s: %s", option, path, words);
    return false;
}

/* OpenSSL cannot read it, though the system can, or so it could a moment ago. */
static bool fail_content(load *self, const char *option, const char *path, const char *what)
{
    unsigned long error = ERR_peek_last_error();
    bool is_system = ERR_GET_LIB(error) == ERR_LIB_SYS;
    bool is_memory = ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE;
    self->is_final = !is_memory && !(is_system && may_pass((int)ERR_GET_REASON(error)));
    gavel__format(self->message, GAVEL_MESSAGE_SIZE, "%s %s: %s", option, path, what);
    return false;
}

/* Whether a file can be read: the system says better why not. */
static bool check_file(load *self, const char *option, const char *path)
{
    char byte;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int error = fd < 0 || read(fd, &byte, 1) < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return error == 0 || fail_system(self, option, path, error);
}

/* OpenSSL looks into the folder only when it wants an authority, and takes none for an answer. */
static bool check_folder(load *self, const char *option, const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL)
        return fail_system(self, option, path, errno);
    closedir(folder);
    return true;
}

/* ---- Hellos -------------------------------------------------------------------------------- */

/*
 * A server that speaks no TLS takes our first bytes for the beginning of a command's line, and
 * waits for the end of it: we would only learn that nothing came. So there is an end: the length of
 * our first message is made to have a line feed as its lower byte, and Redis answers at once, by an
 * error. What fills the message is an extension of a type that every server is to ignore (GREASE,
 * RFC 8701).
 */
#define FILLING_EXTENSION 0x0a0a
#define FILL_MAX 511

/* The more a name takes, that is sent along. */
static size_t size_to_fill(const gavel__tls *tls, const SSL *ssl)
{
    static const size_t name_header = 9;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    size_t size = tls->hello_size + (name != NULL ? name_header + strlen(name) : 0);
    size_t n_fill = (size_t)(unsigned char)((size_t)'\n' - size);
    return size + n_fill < 256 ? n_fill + 256
                               : n_fill; /* a zero would end the line without an end */
}

/* OpenSSL's callback. */
static int fill_hello(SSL *ssl, unsigned type, unsigned context, const unsigned char **ret_data,
    size_t *ret_size, X509 *certificate, size_t place, int *ret_alert, void *user)
{
    static const unsigned char zeros[FILL_MAX];
    const gavel__tls *tls = user;
    (void)type;
    (void)context;
    (void)certificate;
    (void)place;
    (void)ret_alert;
    *ret_data = zeros;
    *ret_size = tls->hello_size > 0 ? size_to_fill(tls, ssl) : 0;
    return 1;
}

/* The certificate must be for this host, by name or by address. A name is also sent along. */
static bool demand_host(SSL *ssl, const char *host)
{
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1)
        return true;
    ERR_clear_error();
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

const char *gavel__tls_name(const gavel__tls *tls, const char *host)
{
    return tls->options.server_name != NULL ? tls->options.server_name : host;
}

SSL *gavel__tls_begin(const gavel__tls *tls, const char *host)
{
    SSL *ssl = SSL_new(tls->context);
    bool is_ready = ssl != NULL && demand_host(ssl, gavel__tls_name(tls, host));
    ERR_clear_error();
    if (is_ready)
        return ssl;
    SSL_free(ssl);
    return NULL;
}

/* What the first message has behind its header of five bytes; but for the name it is the same in
 * all connections. 0: no memory. */
static size_t measure_hello(SSL_CTX *context)
{
    SSL *ssl = SSL_new(context);
    BIO *in = BIO_new(BIO_s_mem());
    BIO *out = BIO_new(BIO_s_mem());
    size_t size = 0;
    if (ssl != NULL && in != NULL && out != NULL) {
        SSL_set_bio(ssl, in, out);
        SSL_connect(ssl); /* nobody answers */
        size = BIO_ctrl_pending(out);
    } else {
        BIO_free(in);
        BIO_free(out);
    }
    SSL_free(ssl);
    return size > 5 ? size - 5 : 0;
}

static bool shape_hello(load *self, gavel__tls *tls)
{
    self->is_final = false;
    tls->hello_size = 0;
    if (SSL_CTX_add_custom_ext(self->context, FILLING_EXTENSION, SSL_EXT_CLIENT_HELLO, fill_hello,
            NULL, tls, NULL, NULL) == 1)
        tls->hello_size = measure_hello(self->context);
    if (tls->hello_size == 0) {
        gavel__format(self->message, GAVEL_MESSAGE_SIZE, "TLS could not be set up");
        return false;
    }
    return true;
}

/* ---- Loading ------------------------------------------------------------------------------- */

static bool load_authorities(load *self)
{
    const char *file = self->options->ca_file;
    const char *folder = self->options->ca_folder;
    if (self->options->is_insecure)
        return true;
    if (file == NULL && folder == NULL)
        return SSL_CTX_set_default_verify_paths(self->context) == 1 ||
               fail_content(self, "the system's", "authorities", "not to be read");
    if (file != NULL && !check_file(self, "ca_file", file))
        return false;
    if (folder != NULL && !check_folder(self, "ca_folder", folder))
        return false;
    if (file != NULL && SSL_CTX_load_verify_locations(self->context, file, NULL) != 1)
        return fail_content(self, "ca_file", file, "holds no certificate in PEM form");
    return folder == NULL || SSL_CTX_load_verify_locations(self->context, NULL, folder) == 1 ||
           fail_content(self, "ca_folder", folder, "not to be read");
}

/* OpenSSL would ask on the terminal. */
static int give_no_passphrase(char *place, int size, int is_written, void *user)
{
    (void)place;
    (void)size;
    (void)is_written;
    (void)user;
    return -1;
}

static bool load_certificate(load *self)
{
    const char *cert = self->options->cert_file;
    const char *key = self->options->key_file;
    if (cert == NULL)
        return true;
    const char *key_option = key != NULL ? "key_file" : "cert_file";
    if (key == NULL)
        key = cert;
    if (!check_file(self, "cert_file", cert) || !check_file(self, key_option, key))
        return false;
    SSL_CTX_set_default_passwd_cb(self->context, give_no_passphrase);
    if (SSL_CTX_use_certificate_chain_file(self->context, cert) != 1)
        return fail_content(self, "cert_file", cert, "holds no certificate in PEM form");
    if (SSL_CTX_use_PrivateKey_file(self->context, key, SSL_FILETYPE_PEM) == 1)
        return true;
    if (ERR_GET_LIB(ERR_peek_last_error()) == ERR_LIB_X509)
        return fail_content(self, key_option, key, "not the key of the certificate in cert_file");
    return fail_content(
        self, key_option, key, "holds no private key in PEM form, or one with a passphrase");
}

static bool configure(load *self)
{
    SSL_CTX *context = self->context;
    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) {
        self->is_final = false;
        gavel__format(self->message, GAVEL_MESSAGE_SIZE, "TLS could not be set up: no memory");
        return false;
    }
    SSL_CTX_set_verify(
        context, self->options->is_insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    /* Without renegotiation, reading never waits for writing, nor the other way round. */
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
#ifdef SSL_OP_IGNORE_UNEXPECTED_EOF
    /* A server that dies says no good-bye. RESP tells by itself whether a reply is whole. */
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
#endif
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return true;
}

bool gavel__tls_load(gavel__tls *tls, char message[GAVEL_MESSAGE_SIZE], bool *ret_is_final)
{
    if (tls->context != NULL)
        return true;
    ERR_clear_error();
    load self = {.options = &tls->options, .message = message};
    self.context = SSL_CTX_new(TLS_client_method());
    if (configure(&self) && load_authorities(&self) && load_certificate(&self) &&
        shape_hello(&self, tls)) {
        tls->context = self.context;
    } else {
        SSL_CTX_free(self.context);
        *ret_is_final = self.is_final;
    }
    ERR_clear_error();
    return tls->context != NULL;
}

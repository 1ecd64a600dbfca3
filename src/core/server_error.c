/*
 * The table of the server's error codes. Used by rounds; knows nothing of them.
 */
#include "core/server_error.h"

#include "base/text.h"

static const struct {
    gavel_bytes code;
    gavel__remedy remedy;
} known_errors[] = {
    {{"LOADING ", 8}, GAVEL__REMEDY_TRY_AGAIN},      /* reads its data set after a start */
    {{"BUSY ", 5}, GAVEL__REMEDY_TRY_AGAIN},         /* runs a slow script */
    {{"TRYAGAIN ", 9}, GAVEL__REMEDY_TRY_AGAIN},     /* a slot is half moved */
    {{"CLUSTERDOWN ", 12}, GAVEL__REMEDY_TRY_AGAIN}, /* a failover is under way */
    {{"MASTERDOWN ", 11}, GAVEL__REMEDY_TRY_AGAIN},  /* a replica without its primary */
    {{"NOREPLICAS ", 11}, GAVEL__REMEDY_TRY_AGAIN},  /* min-replicas-to-write is not met */
    {{"READONLY ", 9}, GAVEL__REMEDY_RECONNECT},     /* it has become a replica */
    {{"NOAUTH ", 7}, GAVEL__REMEDY_RECONNECT},       /* the login was taken back */
};

/* The part of an EXECABORT that names the real error, or the error itself. */
static gavel_bytes cause_of(gavel_bytes error)
{
    static const gavel_bytes execabort = {"EXECABORT ", 10};
    static const gavel_bytes because = {"because of: ", 12};
    if (!gavel__bytes_start_with(error, execabort))
        return error;
    for (size_t i = 0; i + because.size <= error.size; i++) {
        gavel_bytes rest = {error.data + i, error.size - i};
        if (gavel__bytes_start_with(rest, because))
            return (gavel_bytes){rest.data + because.size, rest.size - because.size};
    }
    return error;
}

gavel__remedy gavel__server_error_remedy(gavel_bytes error)
{
    gavel_bytes cause = cause_of(error);
    for (size_t i = 0; i < sizeof(known_errors) / sizeof(known_errors[0]); i++) {
        if (gavel__bytes_start_with(cause, known_errors[i].code))
            return known_errors[i].remedy;
    }
    return GAVEL__REMEDY_GIVE_UP;
}

static bool has_code(gavel_bytes error, const gavel_bytes *codes, size_t n_codes)
{
    size_t i = 0;
    while (i < n_codes && !gavel__bytes_start_with(error, codes[i]))
        i++;
    return i < n_codes;
}

gavel__remedy gavel__server_error_remedy_of_node(gavel_bytes error)
{
    static const gavel_bytes codes[] = {{"MOVED ", 6}, {"ASK ", 4}, {"TRYAGAIN ", 9}};
    if (has_code(cause_of(error), codes, sizeof(codes) / sizeof(codes[0])))
        return GAVEL__REMEDY_FOLLOW;
    return gavel__server_error_remedy(error);
}

/* Nodes tell some of them for all that was queued, when they come to EXEC. */
bool gavel__server_error_ends_multi(gavel_bytes error)
{
    static const gavel_bytes codes[] = {{"EXECABORT", 9}, {"MOVED ", 6}, {"ASK ", 4},
        {"TRYAGAIN ", 9}, {"CLUSTERDOWN ", 12}, {"CROSSSLOT ", 10}};
    return has_code(error, codes, sizeof(codes) / sizeof(codes[0]));
}

bool gavel__server_error_is_of_protocol(gavel_bytes error)
{
    return gavel__bytes_start_with(error, GAVEL_STR("ERR Protocol error"));
}

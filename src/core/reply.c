/*
 * Readers of replies, for users (gavel/reply.h).
 */
#include <gavel/reply.h>

#include "base/number.h"
#include "base/text.h"

static bool has_text(const gavel_reply *reply)
{
    return reply != NULL &&
           (reply->type == GAVEL_REPLY_STRING || reply->type == GAVEL_REPLY_STATUS);
}

bool gavel_reply_int(const gavel_reply *reply, int64_t *ret_value)
{
    *ret_value = 0;
    if (reply == NULL || reply->type != GAVEL_REPLY_INTEGER)
        return has_text(reply) && gavel__parse_int(reply->text, ret_value);
    *ret_value = reply->integer;
    return true;
}

bool gavel_reply_double(const gavel_reply *reply, double *ret_value)
{
    *ret_value = 0;
    if (reply == NULL || reply->type != GAVEL_REPLY_INTEGER)
        return has_text(reply) && gavel__parse_double(reply->text, ret_value);
    *ret_value = (double)reply->integer;
    return true;
}

bool gavel_reply_text(const gavel_reply *reply, gavel_bytes *ret_text)
{
    *ret_text = has_text(reply) ? reply->text : (gavel_bytes){NULL, 0};
    return has_text(reply);
}

const gavel_reply *gavel_reply_element(const gavel_reply *reply, size_t place)
{
    bool is_there = reply != NULL && reply->type == GAVEL_REPLY_ARRAY && place < reply->n_elements;
    return is_there ? &reply->elements[place] : NULL;
}

static bool is_pair(const gavel_reply *reply)
{
    return reply != NULL && reply->type == GAVEL_REPLY_ARRAY && reply->n_elements == 2;
}

bool gavel_reply_pair(const gavel_reply *reply, size_t place, const gavel_reply **ret_name,
    const gavel_reply **ret_value)
{
    bool has_arrays = is_pair(gavel_reply_element(reply, 0)); /* a name is none */
    const gavel_reply *name = NULL, *value = NULL;
    if (has_arrays && is_pair(gavel_reply_element(reply, place))) {
        name = &reply->elements[place].elements[0];
        value = name + 1;
    } else if (!has_arrays && reply != NULL && place < reply->n_elements / 2) {
        name = gavel_reply_element(reply, 2 * place);
        value = gavel_reply_element(reply, 2 * place + 1);
    }
    *ret_name = name;
    *ret_value = value;
    return value != NULL;
}

const gavel_reply *gavel_reply_value(const gavel_reply *reply, gavel_bytes name)
{
    const gavel_reply *found, *value;
    for (size_t i = 0; gavel_reply_pair(reply, i, &found, &value); i++) {
        if (has_text(found) && gavel__bytes_equal(found->text, name))
            return value;
    }
    return NULL;
}

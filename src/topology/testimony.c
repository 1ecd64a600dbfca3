/*
 * Testimonies: see the header.
 */
#include "topology/testimony.h"

#include "base/text.h"

#include <string.h>

static gavel_bytes text_of(const gavel_reply *map, const char *name)
{
    gavel_bytes text;
    if (!gavel_reply_text(gavel_reply_value(map, gavel_str(name)), &text))
        return (gavel_bytes){"", 0};
    return text;
}

static int64_t number_of(const gavel_reply *map, const char *name)
{
    int64_t number;
    gavel_reply_int(gavel_reply_value(map, gavel_str(name)), &number);
    return number;
}

/* A time in ms, in us. What makes no sense is none: a clock may have jumped. */
static int64_t time_of(const gavel_reply *map, const char *name)
{
    static const int64_t longest_ms = INT64_C(365) * 86400000;
    int64_t number = number_of(map, name);
    return number > 0 && number <= longest_ms ? number * 1000 : 0;
}

static uint32_t count_of(const gavel_reply *map, const char *name)
{
    int64_t number = number_of(map, name);
    return number > 0 && number < UINT32_MAX ? (uint32_t)number : 0;
}

/* Whether the word is among those, which commas join. */
static bool has_flag(gavel_bytes flags, gavel_bytes word)
{
    while (flags.size > 0) {
        size_t size = 0;
        while (size < flags.size && flags.data[size] != ',')
            size++;
        if (gavel__bytes_equal((gavel_bytes){flags.data, size}, word))
            return true;
        size += size < flags.size;
        flags = (gavel_bytes){flags.data + size, flags.size - size};
    }
    return false;
}

void gavel__testimony_take_master(gavel__testimony *testimony, const gavel_reply *reply)
{
    gavel_bytes flags = text_of(reply, "flags");
    int64_t epoch = number_of(reply, "config-epoch");
    testimony->epoch = epoch > 0 ? (uint64_t)epoch : 0;
    testimony->n_others = count_of(reply, "num-other-sentinels");
    testimony->n_replicas = count_of(reply, "num-slaves");
    testimony->down_after_us = time_of(reply, "down-after-milliseconds");
    testimony->is_failing_over = has_flag(flags, GAVEL_STR("failover_in_progress"));
    testimony->is_promoting =
        testimony->is_failing_over &&
        gavel__bytes_equal(text_of(reply, "failover-state"), GAVEL_STR("wait_promotion"));
    testimony->is_down =
        has_flag(flags, GAVEL_STR("s_down")) || has_flag(flags, GAVEL_STR("o_down"));
    testimony->vouches_us = testimony->asked_us - time_of(reply, "last-ping-sent");
    gavel__place_take(text_of(reply, "ip"), number_of(reply, "port"), &testimony->watched);
}

void gavel__testimony_take_address(gavel__testimony *testimony, const gavel_reply *reply)
{
    gavel_bytes host;
    int64_t port;
    if (reply->type == GAVEL_REPLY_ARRAY &&
        gavel_reply_text(gavel_reply_element(reply, 0), &host) &&
        gavel_reply_int(gavel_reply_element(reply, 1), &port))
        gavel__place_take(host, port, &testimony->primary);
    if (gavel__place_is_same(&testimony->primary, &testimony->watched))
        return;
    testimony->vouches_us = testimony->asked_us;
    testimony->is_down = false;
    testimony->is_failing_over = false;
    testimony->is_promoting = false;
}

void gavel__testimony_take_info(gavel__testimony *testimony, const gavel_reply *reply)
{
    static const char tilt[] = "sentinel_tilt:1";
    gavel_bytes text = {"", 0};
    if (!testimony->is_failing_over || !gavel_reply_text(reply, &text))
        return;
    for (size_t i = 0; i + sizeof(tilt) - 1 <= text.size; i++)
        testimony->is_tilted |= memcmp(text.data + i, tilt, sizeof(tilt) - 1) == 0;
    if (!testimony->is_tilted)
        return;
    testimony->is_failing_over = false;
    testimony->is_promoting = false;
    testimony->is_down = true;
}

void gavel__testimony_take_replicas(gavel__testimony *testimony, const gavel_reply *reply)
{
    for (size_t i = 0; reply->type == GAVEL_REPLY_ARRAY && i < reply->n_elements; i++) {
        const gavel_reply *replica = &reply->elements[i];
        if (testimony->is_promoting && has_flag(text_of(replica, "flags"), GAVEL_STR("promoted")))
            gavel__place_take(
                text_of(replica, "ip"), number_of(replica, "port"), &testimony->promoted);
    }
}

bool gavel__testimony_of_other(
    const gavel_reply *other, gavel_bytes *ret_id, gavel__place_name *ret_place)
{
    *ret_id = text_of(other, "runid");
    return gavel__place_take(text_of(other, "ip"), number_of(other, "port"), ret_place);
}

/* False: it does not say where, or that it cannot be had. */
static bool find_replica(const gavel_reply *replica, gavel__place_name *ret_place)
{
    gavel_bytes flags = text_of(replica, "flags");
    return !has_flag(flags, GAVEL_STR("s_down")) && !has_flag(flags, GAVEL_STR("o_down")) &&
           !has_flag(flags, GAVEL_STR("disconnected")) &&
           gavel__place_take(text_of(replica, "ip"), number_of(replica, "port"), ret_place);
}

bool gavel__testimony_of_replicas(const gavel_reply *reply,
    gavel__place_name ret_places[GAVEL__TESTIMONY_REPLICAS_MAX], uint32_t *ret_n)
{
    uint32_t n = 0;
    if (reply->type != GAVEL_REPLY_ARRAY)
        return false;
    for (size_t i = 0; i < reply->n_elements && n < GAVEL__TESTIMONY_REPLICAS_MAX; i++)
        n += find_replica(&reply->elements[i], &ret_places[n]);
    *ret_n = n;
    return true;
}

/*
 * Records: see the header.
 */
#include "cli/record.h"

#include "base/text.h"
#include "cli/text.h"
#include "lock/scripts.h"

static int64_t number(gavel_bytes text)
{
    int64_t value = -1;
    return gavel__parse_int(text, &value) && value >= 0 ? value : -1;
}

cli_holder cli_read_record(gavel_bytes record)
{
    size_t owner_size = record.size < GAVEL__LOCK_OWNER_SIZE ? record.size : GAVEL__LOCK_OWNER_SIZE;
    return (cli_holder){
        .is_handed_off = gavel__bytes_start_with(record, GAVEL_STR("- ")),
        .owner = {record.data, owner_size},
        .host = cli_field(record, " host="),
        .pid = number(cli_field(record, " pid=")),
        .fence = number(cli_field(record, " fence=")),
        .since_ms = number(cli_field(record, " since=")),
    };
}

int64_t cli_read_time(const gavel_reply *reply)
{
    if (reply->type != GAVEL_REPLY_ARRAY || reply->n_elements != 2)
        return -1;
    int64_t seconds = number(reply->elements[0].text);
    int64_t microseconds = number(reply->elements[1].text);
    return seconds < 0 || seconds > INT64_MAX / 2000 || microseconds < 0
               ? -1
               : seconds * 1000 + microseconds / 1000;
}

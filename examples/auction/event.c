/*
 * Events to lines and back.
 */
#include "event.h"

#include <stdio.h>

void event_format(const struct event *event, char ret_line[EVENT_SIZE])
{
    switch (event->type) {
    case EVENT_OPEN:
        snprintf(ret_line, EVENT_SIZE, "open %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64,
            event->increment, event->reserve, event->end_ms, event->window_ms);
        break;
    case EVENT_BID:
        snprintf(ret_line, EVENT_SIZE, "bid %s %s %" PRId64 " %" PRId64, event->id, event->who,
            event->amount, event->at_ms);
        break;
    case EVENT_CLOSE:
        snprintf(ret_line, EVENT_SIZE, "close %s %" PRId64 " %" PRId64, event->who, event->amount,
            event->at_ms);
        break;
    }
}

/* The next word of a line, which it takes off; "" at the end, or if it does not fit into `size`. */
static void take_word(const char **line, char *ret_word, size_t size)
{
    size_t length = strcspn(*line, " ");
    ret_word[0] = '\0';
    if (length >= size)
        return;
    memcpy(ret_word, *line, length);
    ret_word[length] = '\0';
    *line += length;
    *line += **line == ' ';
}

static bool take_name(const char **line, char *ret_name, size_t size)
{
    take_word(line, ret_name, size);
    return is_name(ret_name, size);
}

static bool take_number(const char **line, int64_t *ret_number)
{
    char word[24];
    take_word(line, word, sizeof(word));
    return parse_number(word, 0, INT64_MAX / 2, ret_number);
}

bool event_parse(gavel_bytes bytes, struct event *ret_event)
{
    char text[EVENT_SIZE] = {0};
    char type[8];
    const char *line = text;
    struct event event = {0};
    bool is_sound = false;

    if (bytes.size >= sizeof(text))
        return false;
    memcpy(text, bytes.data, bytes.size);
    take_word(&line, type, sizeof(type));
    if (strcmp(type, "open") == 0) {
        event.type = EVENT_OPEN;
        is_sound = take_number(&line, &event.increment) && take_number(&line, &event.reserve) &&
                   take_number(&line, &event.end_ms) && take_number(&line, &event.window_ms);
    } else if (strcmp(type, "bid") == 0) {
        event.type = EVENT_BID;
        is_sound = take_name(&line, event.id, sizeof(event.id)) &&
                   take_name(&line, event.who, sizeof(event.who)) &&
                   take_number(&line, &event.amount) && take_number(&line, &event.at_ms);
    } else if (strcmp(type, "close") == 0) {
        event.type = EVENT_CLOSE;
        is_sound = take_name(&line, event.who, sizeof(event.who)) &&
                   take_number(&line, &event.amount) && take_number(&line, &event.at_ms);
    }
    if (!is_sound || *line != '\0')
        return false;
    *ret_event = event;
    return true;
}

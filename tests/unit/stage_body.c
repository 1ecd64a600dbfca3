/* The stage's bodies: see stage.h. */
#include "stage_body.h"

#include "base/text.h"

#include <criterion/criterion.h>
#include <string.h>

const char *stage_split(const char *line, const char *stop, word_list *ret_words)
{
    *ret_words = (word_list){.n_args = 0};
    size_t size = strcspn(line, stop);
    cr_assert_lt(size, sizeof(ret_words->text));
    memcpy(ret_words->text, line, size);
    for (char *word = ret_words->text; *(word += strspn(word, " ")) != '\0';) {
        size_t length = strcspn(word, " ");
        cr_assert_lt(ret_words->n_args, STAGE_MAX_KEYS);
        ret_words->args[ret_words->n_args++] = (gavel_bytes){word, length};
        word += length;
    }
    return line + size;
}

static void note_seen(actor *a, gavel_bytes name, gavel_found found, gavel_bytes value)
{
    const char *text = "nil";
    char printable[64];
    if (found == GAVEL_NOT_YET)
        text = "?";
    if (found == GAVEL_FAILED)
        text = "!";
    if (found == GAVEL_FOUND)
        text = gavel__printable(value, printable, sizeof(printable));
    size_t used = strlen(a->seen);
    gavel__format(
        a->seen + used, sizeof(a->seen) - used, "%.*s=%s ", (int)name.size, name.data, text);
}

static bool is_word(gavel_bytes word, const char *text)
{
    return gavel__bytes_equal(word, gavel_str(text));
}

static void note_number(actor *a, gavel_bytes name, gavel_found found, int64_t number)
{
    char storage[GAVEL__INT_SIZE];
    note_seen(a, name, found, gavel__format_int(number, storage));
}

/* The command from the i-th word on, of as many keys as the word before it says. */
static gavel_command described(const word_list *w, size_t i)
{
    int64_t n_keys = 0;
    cr_assert(gavel__parse_int(w->args[i - 1], &n_keys));
    return (gavel_command){.args = w->args + i, .n_args = w->n_args - i, .n_keys = (size_t)n_keys};
}

static void query(gavel_tx *tx, actor *a, gavel_command command)
{
    const gavel_reply *reply = NULL;
    gavel_found found = gavel_query(tx, &command, &reply);
    char storage[GAVEL__INT_SIZE];
    gavel_bytes value = {NULL, 0};
    if (found == GAVEL_FOUND)
        value = reply->type == GAVEL_REPLY_INTEGER ? gavel__format_int(reply->integer, storage)
                                                   : reply->text;
    note_seen(a, command.args[command.n_args > 1], found, value);
}

static bool play_read(gavel_tx *tx, actor *a, const word_list *w)
{
    gavel_bytes value = {NULL, 0};
    int64_t number = 0;
    gavel_command command = {.args = w->args + 1, .n_args = w->n_args - 1};
    if (is_word(w->args[0], "GET")) {
        note_seen(a, w->args[1], gavel_get(tx, w->args[1], &value), value);
    } else if (is_word(w->args[0], "HGET")) {
        note_seen(a, w->args[2], gavel_hget(tx, w->args[1], w->args[2], &value), value);
    } else if (is_word(w->args[0], "INT")) {
        gavel_found found = gavel_get_int(tx, w->args[1], &number);
        note_number(a, w->args[1], found, number);
    } else if (is_word(w->args[0], "TTL")) {
        gavel_found found = gavel_ttl_ms(tx, w->args[1], &number);
        note_number(a, w->args[1], found, number);
    } else if (is_word(w->args[0], "TIME")) {
        gavel_found found = gavel_server_time_us(tx, &number);
        note_number(a, w->args[0], found, number);
    } else if (is_word(w->args[0], "QUERY")) {
        query(tx, a, command);
    } else if (is_word(w->args[0], "LOOK")) {
        query(tx, a, described(w, 2));
    } else if (is_word(w->args[0], "ASK")) {
        command.n_keys = GAVEL_NO_KEYS;
        query(tx, a, command);
    } else {
        return false;
    }
    return true;
}

static void add(gavel_tx *tx, gavel_bytes key, gavel_bytes n)
{
    int64_t step = 0;
    int64_t value = 0;
    cr_assert(gavel__parse_int(n, &step));
    gavel_found found = gavel_get_int(tx, key, &value);
    if (found == GAVEL_FOUND || found == GAVEL_ABSENT)
        gavel_set_int(tx, key, value + step);
}

static void take_time(actor *a, gavel_bytes us)
{
    int64_t n = 0;
    cr_assert(gavel__parse_int(us, &n));
    a->stage->now_us += n;
}

/* The writes that end in a number. */
static bool play_number(gavel_tx *tx, const word_list *w)
{
    const gavel_bytes *args = w->args;
    int64_t n = 0;
    if (!gavel__parse_int(args[w->n_args - 1], &n))
        return false;
    if (is_word(args[0], "SETPX"))
        gavel_set_px(tx, args[1], args[2], (uint64_t)n);
    else if (is_word(args[0], "EXPIRE"))
        gavel_expire_ms(tx, args[1], (uint64_t)n);
    else if (is_word(args[0], "COUNT"))
        gavel_incr(tx, args[1], n);
    else if (is_word(args[0], "HCOUNT"))
        gavel_hincr(tx, args[1], args[2], n);
    else
        return false;
    return true;
}

static bool play_call(gavel_tx *tx, const word_list *w)
{
    if (!is_word(w->args[0], "CALL"))
        return false;
    gavel_command command = described(w, 2);
    gavel_write(tx, &command);
    return true;
}

static void play_write(gavel_tx *tx, actor *a, const word_list *w)
{
    const gavel_bytes *args = w->args;
    if (play_number(tx, w) || play_call(tx, w))
        return;
    if (is_word(args[0], "SET"))
        gavel_set(tx, args[1], args[2]);
    else if (is_word(args[0], "DEL"))
        gavel_del(tx, args[1]);
    else if (is_word(args[0], "HSET"))
        gavel_hset(tx, args[1], args[2], args[3]);
    else if (is_word(args[0], "HDEL"))
        gavel_hdel(tx, args[1], args[2]);
    else if (is_word(args[0], "DELS"))
        gavel_del_many(tx, args + 1, w->n_args - 1);
    else if (is_word(args[0], "KEEP"))
        gavel_set_keep(tx, args[1], args[2]);
    else if (is_word(args[0], "PERSIST"))
        gavel_persist(tx, args[1]);
    else if (is_word(args[0], "APPEND"))
        gavel_append(tx, args[1], args[2]);
    else if (is_word(args[0], "ADD"))
        add(tx, args[1], args[2]);
    else if (is_word(args[0], "RESULT"))
        gavel_set_result(tx, args[1]);
    else if (is_word(args[0], "WRITE"))
        gavel_write(tx, &(gavel_command){.args = args + 1, .n_args = w->n_args - 1});
    else if (is_word(args[0], "PUBLISH"))
        gavel_write(tx, &(gavel_command){.args = args, .n_args = 3, .n_keys = GAVEL_NO_KEYS});
    else if (is_word(args[0], "WAIT"))
        take_time(a, args[1]);
    else
        cr_assert(false, "\"%s\" is no line for a body", w->text);
}

/* Whether the line is a verdict. */
static bool play_verdict(gavel_tx *tx, const word_list *w, gavel_verdict *ret_verdict)
{
    int64_t code = 0;
    if (is_word(w->args[0], "COMMIT"))
        *ret_verdict = GAVEL_COMMIT;
    else if (is_word(w->args[0], "RETRY"))
        *ret_verdict = GAVEL_RETRY;
    else if (is_word(w->args[0], "AGAIN"))
        *ret_verdict = GAVEL_AGAIN;
    else if (is_word(w->args[0], "ABORT") && gavel__parse_int(w->args[1], &code))
        *ret_verdict = gavel_abort(tx, (int)code);
    else
        return false;
    return true;
}

gavel_verdict stage_play(gavel_tx *tx, void *user)
{
    actor *a = user;
    const char *line = a->plays;
    for (unsigned i = 0; i < a->n_runs; i++) {
        const char *bar = strchr(line, '|');
        if (bar != NULL)
            line = bar + 1;
    }
    a->n_runs++;
    a->seen[0] = '\0';
    gavel_verdict verdict = GAVEL_COMMIT;
    for (word_list w; *line != '\0' && *line != '|';) {
        line = stage_split(line, ";|", &w);
        if (*line == ';')
            line++;
        if (w.n_args == 0 || play_read(tx, a, &w))
            continue;
        if (play_verdict(tx, &w, &verdict))
            break;
        play_write(tx, a, &w);
    }
    return verdict;
}

/* The store: "FENCE TEXT" in a file, under the file's own lock while it is looked at and written.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define LINE_MAX_SIZE (24 + STORE_TEXT_MAX + 1)

/* The bytes read, with a NUL behind them; -1 on failure. */
static ssize_t read_line(int file, char line[LINE_MAX_SIZE + 1])
{
    ssize_t size = pread(file, line, LINE_MAX_SIZE, 0);
    if (size >= 0)
        line[size] = '\0';
    return size;
}

static bool parse(const char *line, int64_t *ret_fence, const char **ret_text)
{
    char *end = NULL;
    errno = 0;
    int64_t fence = strtoimax(line, &end, 10);
    if (errno != 0 || end == line || *end != ' ')
        return false;
    *ret_fence = fence;
    *ret_text = end + 1;
    return true;
}

static store_answer write_locked(int file, int64_t fence, const char *text)
{
    char line[LINE_MAX_SIZE + 1];
    int64_t seen = 0;
    const char *ignored;
    ssize_t size = read_line(file, line);
    if (size < 0)
        return STORE_FAILED;
    if (size > 0 && !parse(line, &seen, &ignored)) {
        errno = EINVAL;
        return STORE_FAILED;
    }
    if (fence < seen)
        return STORE_REFUSED;
    int length = snprintf(line, sizeof(line), "%" PRId64 " %.*s", fence, STORE_TEXT_MAX, text);
    if (pwrite(file, line, (size_t)length, 0) != length || ftruncate(file, length) != 0)
        return STORE_FAILED;
    return STORE_WRITTEN;
}

store_answer store_write(const char *path, int64_t fence, const char *text)
{
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return STORE_FAILED;
    store_answer answer = STORE_FAILED;
    if (flock(file, LOCK_EX) == 0)
        answer = write_locked(file, fence, text);
    int fault = errno;
    close(file);
    errno = fault;
    return answer;
}

bool store_read(const char *path, int64_t *ret_fence, char ret_text[STORE_TEXT_MAX + 1])
{
    char line[LINE_MAX_SIZE + 1];
    const char *text;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    bool is_read = flock(file, LOCK_SH) == 0 && read_line(file, line) > 0;
    close(file);
    if (!is_read || !parse(line, ret_fence, &text))
        return false;
    snprintf(ret_text, STORE_TEXT_MAX + 1, "%s", text);
    return true;
}

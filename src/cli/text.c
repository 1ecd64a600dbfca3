/*
 * Text: see the header.
 */
#include "cli/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <unistd.h>

/* The longest message; a longer one is cut. A lock's name may be 512 bytes, each shown as four. */
#define MESSAGE_SIZE 4096

/* A character as it is shown: at most a doubled, escaped backslash with "xNN". */
#define SHOWN_SIZE 8

void cli_say(const char *format, ...)
{
    static const char head[] = "gavel: ";
    char line[MESSAGE_SIZE];
    size_t size = sizeof(head) - 1;
    memcpy(line, head, size);
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(line + size, sizeof(line) - size - 1, format, arguments);
    va_end(arguments);
    size += n > 0 ? strlen(line + size) : 0;
    line[size++] = '\n';
    /* Where standard error is gone there is nobody to tell. */
    ssize_t ignored = write(STDERR_FILENO, line, size);
    (void)ignored;
}

/* ---- Names --------------------------------------------------------------------------------- */

/* The forms of UTF-8 beyond ASCII: first bytes, length, the least code point that needs so many. */
static const struct utf8_form {
    unsigned char first;
    unsigned char last;
    size_t size;
    uint32_t least;
} utf8_forms[] = {{0xC2, 0xDF, 2, 0x80}, {0xE0, 0xEF, 3, 0x800}, {0xF0, 0xF4, 4, 0x10000}};

/* Control characters, what cannot be seen, what breaks a line or turns its direction around. */
static const struct range {
    uint32_t first;
    uint32_t last;
} unprintable[] = {{0x80, 0x9F}, {0xAD, 0xAD}, {0x200B, 0x200F}, {0x2028, 0x202E}, {0x2060, 0x206F},
    {0xD800, 0xDFFF}, {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB}, {0xE0000, 0xE0FFF},
    {0x110000, UINT32_MAX}};

static bool is_printable(uint32_t point)
{
    for (size_t i = 0; i < sizeof(unprintable) / sizeof(unprintable[0]); i++) {
        if (point >= unprintable[i].first && point <= unprintable[i].last)
            return false;
    }
    return true;
}

static const struct utf8_form *find_form(unsigned char byte)
{
    for (size_t i = 0; i < sizeof(utf8_forms) / sizeof(utf8_forms[0]); i++) {
        if (byte >= utf8_forms[i].first && byte <= utf8_forms[i].last)
            return &utf8_forms[i];
    }
    return NULL;
}

/* The bytes of the printable character beyond ASCII at the beginning; 0: there is none. */
static size_t utf8_size(const char *text, size_t size)
{
    const struct utf8_form *form = find_form((unsigned char)text[0]);
    if (form == NULL || form->size > size)
        return 0;
    uint32_t point = (unsigned char)text[0] & (0x7FU >> form->size);
    for (size_t i = 1; i < form->size; i++) {
        unsigned char byte = (unsigned char)text[i];
        if ((byte & 0xC0) != 0x80)
            return 0;
        point = point << 6 | (byte & 0x3F);
    }
    return point >= form->least && is_printable(point) ? form->size : 0;
}

/* Writes the first character of the text as it is shown, and returns how many bytes it took. */
static size_t show(const char *text, size_t size, char shown[SHOWN_SIZE])
{
    unsigned char byte = (unsigned char)text[0];
    size_t n = utf8_size(text, size);
    if (n > 0)
        snprintf(shown, SHOWN_SIZE, "%.*s", (int)n, text);
    else if (byte == '\\')
        snprintf(shown, SHOWN_SIZE, "\\\\");
    else if (byte >= ' ' && byte <= '~')
        snprintf(shown, SHOWN_SIZE, "%c", byte);
    else
        snprintf(shown, SHOWN_SIZE, "\\x%02x", byte);
    return n > 0 ? n : 1;
}

static size_t shown_width(const char shown[SHOWN_SIZE])
{
    return (unsigned char)shown[0] >= 0x80 ? 1 : strlen(shown);
}

size_t cli_print_name(FILE *out, gavel_bytes name)
{
    char shown[SHOWN_SIZE];
    for (size_t i = 0; i < name.size;) {
        i += show(name.data + i, name.size - i, shown);
        fputs(shown, out);
    }
    return cli_name_width(name);
}

size_t cli_name_width(gavel_bytes name)
{
    char shown[SHOWN_SIZE];
    size_t width = 0;
    for (size_t i = 0; i < name.size;) {
        i += show(name.data + i, name.size - i, shown);
        width += shown_width(shown);
    }
    return width;
}

void cli_print_json(FILE *out, gavel_bytes name)
{
    char shown[SHOWN_SIZE];
    putc('"', out);
    for (size_t i = 0; i < name.size;) {
        i += show(name.data + i, name.size - i, shown);
        for (const char *at = shown; *at != '\0'; at++) {
            if (*at == '"' || *at == '\\')
                putc('\\', out);
            putc(*at, out);
        }
    }
    putc('"', out);
}

/* ---- Fields -------------------------------------------------------------------------------- */

gavel_bytes cli_field(gavel_bytes line, const char *label)
{
    size_t size = strlen(label);
    size_t i = 0;
    while (i + size <= line.size && memcmp(line.data + i, label, size) != 0)
        i++;
    if (i + size > line.size)
        return (gavel_bytes){line.data + line.size, 0};
    const char *begin = line.data + i + size;
    size_t room = line.size - i - size;
    const char *end = memchr(begin, ' ', room);
    return (gavel_bytes){begin, end != NULL ? (size_t)(end - begin) : room};
}

/* ---- Times --------------------------------------------------------------------------------- */

const char *cli_format_ms(int64_t ms, char text[CLI_DURATION_SIZE])
{
    int64_t seconds = ms / 1000;
    if (ms < 1000)
        snprintf(text, CLI_DURATION_SIZE, "%" PRId64 "ms", ms < 0 ? 0 : ms);
    else if (seconds < 60)
        snprintf(text, CLI_DURATION_SIZE, "%" PRId64 ".%" PRId64 "s", seconds, ms % 1000 / 100);
    else if (seconds < 3600)
        snprintf(text, CLI_DURATION_SIZE, "%" PRId64 "m%02" PRId64 "s", seconds / 60, seconds % 60);
    else if (seconds < 86400)
        snprintf(text, CLI_DURATION_SIZE, "%" PRId64 "h%02" PRId64 "m", seconds / 3600,
            seconds / 60 % 60);
    else
        snprintf(text, CLI_DURATION_SIZE, "%" PRId64 "d%02" PRId64 "h", seconds / 86400,
            seconds / 3600 % 24);
    return text;
}

/* gavel_keyf: what it makes of formats, in which memory, and where it makes nothing. */
#include "core/body.h"

#include "base/text.h"

#include "faulty_memory.h"

#include <criterion/criterion.h>

#include <locale.h>

static const gavel_bytes NAMED = GAVEL_BYTES_INIT("named \0 before");

typedef struct fixture {
    faulty_memory memory;
    gavel_allocator allocator;
    gavel__arena arena;
    gavel__stage stage;
    gavel_tx tx;
} fixture;

static void begin(fixture *self, size_t n_left)
{
    *self = (fixture){.memory = {.n_left = n_left}};
    self->allocator = faulty_allocator(&self->memory);
    gavel__arena_init(&self->arena, &self->allocator);
    self->stage.arena = &self->arena;
    self->tx.stage = &self->stage;
}

static void end(fixture *self)
{
    gavel__arena_finish(&self->arena);
}

static bool is(gavel_bytes bytes, const char *expected)
{
    return gavel__bytes_equal(bytes, gavel_str(expected));
}

Test(core_keyf, prints_into_memory_of_the_attempt)
{
    fixture self;
    begin(&self, 1000);
    gavel_bytes stock = gavel_keyf(&self.tx, "stock:%lld", 17LL);
    gavel_bytes blank = gavel_keyf(&self.tx, "%s of %.*s", "two words", 3, "sixty");
    gavel_bytes none = gavel_keyf(&self.tx, "%s", "");
    gavel_bytes wide = gavel_keyf(&self.tx, "%2000d", 1);
    cr_expect(is(stock, "stock:17"));
    cr_expect(is(blank, "two words of six"));
    cr_expect(none.size == 0 && none.data != NULL);
    cr_expect_eq(wide.size, 2000);
    cr_expect_not(self.tx.is_poisoned);
    cr_expect_eq(NAMED.size, sizeof("named \0 before") - 1);
    end(&self);
}

Test(core_keyf, prints_in_every_locale_alike)
{
    fixture self;
    begin(&self, 1000);
    setlocale(LC_ALL, "de_DE.UTF-8"); /* where the system has it */
    cr_expect(is(gavel_keyf(&self.tx, "%.1f", 2.5), "2.5"));
    end(&self);
}

Test(core_keyf, makes_nothing_without_memory_or_of_a_spoiled_attempt)
{
    fixture self;
    begin(&self, 0);
    gavel_bytes made = gavel_keyf(&self.tx, "%2000d", 1);
    cr_expect(made.size == 0 && made.data != NULL);
    cr_expect(self.tx.is_poisoned);
    cr_expect_eq(self.tx.status, GAVEL_NOT_SENT);
    end(&self);

    begin(&self, 1000);
    gavel__body_poison(&self.tx, GAVEL_INVALID, "before");
    cr_expect_eq(gavel_keyf(&self.tx, "%d", 1).size, 0);
    end(&self);
}

/* No letter beyond ASCII is wide in C's own locale. */
Test(core_keyf, says_that_a_format_cannot_be_printed)
{
    fixture self;
    begin(&self, 1000);
    cr_expect_eq(gavel_keyf(&self.tx, "%ls", L"\x20ac").size, 0);
    cr_expect_eq(self.tx.status, GAVEL_INVALID);
    cr_expect_not_null(strstr(self.tx.message, "gavel_keyf"));
    end(&self);
}

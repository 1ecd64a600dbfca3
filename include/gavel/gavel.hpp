/*
 * gavel for C++17 and newer: a skin over the C interface, all of it in this header.
 *
 *     gavel_error error;
 *     gavel::client client = gavel::client::open("redis://localhost", nullptr, &error);
 *     if (!client)
 *         return fail(error.message);
 *     gavel::outcome outcome =
 *         client.run(gavel::transaction().read(item, "price"), [&](gavel::tx tx) {
 *             if (tx.hget_int(item, "price").value_or(0) >= amount)
 *                 return tx.abort(TOO_LOW);
 *             tx.hset_int(item, "price", amount);
 *             return GAVEL_COMMIT;
 *         });
 *     puts(outcome.text().c_str());
 *
 * Locks are in gavel/lock.hpp.
 *
 * What it adds: clients and outcomes that clean up after themselves, lambdas as bodies, strings of
 * any kind as keys and values, reads as std::optional, and exceptions that find their way out of a
 * body. What a call means stands with the C function of the same name, in the other headers; where
 * there is no such method here, client::get() and tx::get() give the pointer that C takes.
 *
 * Exceptions. gavel itself throws none. One that leaves a body aborts the attempt, so that nothing
 * is written, and goes no further up than that: no frame of C sees it. client::run throws it again
 * if the outcome is ABORTED, that is, if what the body had read held. If that did not hold, the
 * body runs again, and may decide otherwise; and where another outcome came (DEADLINE, or INVALID
 * because a read before had failed) run returns it, and the exception is dropped like any verdict
 * that does not count. With -fno-exceptions all is the same but for this paragraph.
 */
#ifndef GAVEL_GAVEL_HPP
#define GAVEL_GAVEL_HPP

#if __cplusplus < 201703L
#error "gavel/gavel.hpp wants C++17 or newer; gavel/gavel.h is for any C++ from C++11 on"
#endif

#include <gavel/gavel.h>

#include <charconv>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace gavel
{

/* So that files with and without exceptions can be linked together. */
#if defined(__cpp_exceptions)
inline namespace with_exceptions
#else
inline namespace without_exceptions
#endif
{

/* ---- Bytes --------------------------------------------------------------------------------- */

/*
 * What keys, fields, values and arguments are passed as: from a literal, std::string,
 * std::string_view or gavel_bytes, without being named. Owns nothing. A char pointer ends at its
 * NUL (write "a\0b"sv for a NUL in the middle), and a null pointer stays none: INVALID as a key or
 * value. An empty std::string_view is "", also a default one.
 *
 *     static constexpr gavel::bytes counter = "visits";
 */
struct bytes : gavel_bytes {
    constexpr bytes(const char *string) noexcept
        : gavel_bytes{string, string != nullptr ? std::string_view(string).size() : 0}
    {
    }

    bytes(std::nullptr_t) = delete;

    template <class String,
        std::enable_if_t<std::is_convertible_v<const String &, std::string_view> &&
                             !std::is_pointer_v<String>,
            int> = 0>
    constexpr bytes(const String &string) noexcept : bytes(std::string_view(string), 0)
    {
    }

    constexpr bytes(gavel_bytes other) noexcept : gavel_bytes(other) {}

private:
    constexpr bytes(std::string_view view, int) noexcept
        : gavel_bytes{view.data() != nullptr ? view.data() : "", view.size()}
    {
    }
};

/* The same bytes, to look at. */
constexpr std::string_view view(gavel_bytes from) noexcept
{
    return from.size > 0 ? std::string_view(from.data, from.size) : std::string_view();
}

/* ---- Commands ------------------------------------------------------------------------------ */

/*
 * A command of counted arguments, its name first, where C has GAVEL_COMMAND:
 *
 *     tx.write(gavel::command("ZADD", board, 120, "ann"));
 *
 * Arguments are strings as above, which have to outlive it, and integers. It stays where it was
 * made: neither copied nor moved.
 */
template <std::size_t N> class command
{
public:
    template <class... Arguments, std::enable_if_t<sizeof...(Arguments) == N, int> = 0>
    explicit command(const Arguments &...arguments) noexcept
    {
        std::size_t i = 0;
        (put(i++, arguments), ...);
        command_.args = args_;
        command_.n_args = N;
    }

    command(const command &) = delete;
    command &operator=(const command &) = delete;

    /* Of a command that gavel does not know: which arguments are keys, as in gavel_command. */
    command &keys(std::size_t first_key, std::size_t n_keys) noexcept
    {
        command_.first_key = first_key;
        command_.n_keys = n_keys;
        return *this;
    }

    /* Lives as long as this. */
    const gavel_command *get() const noexcept { return &command_; }

private:
    template <class Argument> void put(std::size_t i, const Argument &argument) noexcept
    {
        if constexpr (std::is_integral_v<Argument>) {
            static_assert(!std::is_same_v<Argument, bool> && !std::is_same_v<Argument, char>,
                "an argument is a string or a number");
            char *end = std::to_chars(numbers_[i], numbers_[i] + sizeof(numbers_[i]), argument).ptr;
            args_[i] = gavel_bytes{numbers_[i], static_cast<std::size_t>(end - numbers_[i])};
        } else {
            args_[i] = bytes(argument);
        }
    }

    char numbers_[N][24]; /* of those arguments that are */
    gavel_bytes args_[N];
    gavel_command command_{};
};

template <class... Arguments> command(const Arguments &...) -> command<sizeof...(Arguments)>;

/* ---- Bodies -------------------------------------------------------------------------------- */

/*
 * One attempt, as its body sees it; valid only while the body runs, and so is what it reads.
 *
 * A read is empty where there is no such key or field, where it is not fetched yet, and where it
 * failed. A body need not tell the last two from the first: whatever it then does counts as
 * GAVEL_AGAIN, or spoils the attempt and is told in the outcome.
 */
class tx
{
public:
    explicit tx(gavel_tx *from) noexcept : tx_(from) {}

    gavel_tx *get() const noexcept { return tx_; }

    /* ---- Reading */

    std::optional<std::string_view> get(bytes key)
    {
        gavel_bytes value{};
        return text_if(gavel_get(tx_, key, &value), value);
    }
    std::optional<std::string_view> hget(bytes key, bytes field)
    {
        gavel_bytes value{};
        return text_if(gavel_hget(tx_, key, field, &value), value);
    }
    std::optional<std::int64_t> get_int(bytes key)
    {
        std::int64_t value = 0;
        return value_if(gavel_get_int(tx_, key, &value), value);
    }
    std::optional<std::int64_t> hget_int(bytes key, bytes field)
    {
        std::int64_t value = 0;
        return value_if(gavel_hget_int(tx_, key, field, &value), value);
    }
    std::optional<double> get_double(bytes key)
    {
        double value = 0;
        return value_if(gavel_get_double(tx_, key, &value), value);
    }
    std::optional<double> hget_double(bytes key, bytes field)
    {
        double value = 0;
        return value_if(gavel_hget_double(tx_, key, field, &value), value);
    }
    std::optional<std::int64_t> ttl_ms(bytes key)
    {
        std::int64_t value = 0;
        return value_if(gavel_ttl_ms(tx_, key, &value), value);
    }
    std::optional<std::int64_t> server_time_us()
    {
        std::int64_t value = 0;
        return value_if(gavel_server_time_us(tx_, &value), value);
    }

    /* The reply; null where the others are empty. */
    template <std::size_t N> const gavel_reply *query(const command<N> &what)
    {
        const gavel_reply *reply = nullptr;
        return gavel_query(tx_, what.get(), &reply) == GAVEL_FOUND ? reply : nullptr;
    }

    /* ---- Writing: false where the attempt is poisoned; nobody has to look */

    bool set(bytes key, bytes value) { return gavel_set(tx_, key, value); }
    bool set_int(bytes key, std::int64_t value) { return gavel_set_int(tx_, key, value); }
    bool set_double(bytes key, double value) { return gavel_set_double(tx_, key, value); }
    bool set_px(bytes key, bytes value, std::uint64_t ttl_ms)
    {
        return gavel_set_px(tx_, key, value, ttl_ms);
    }
    bool set_keep(bytes key, bytes value) { return gavel_set_keep(tx_, key, value); }
    bool expire_ms(bytes key, std::uint64_t ttl_ms) { return gavel_expire_ms(tx_, key, ttl_ms); }
    bool persist(bytes key) { return gavel_persist(tx_, key); }
    template <class... Keys> bool del(const Keys &...keys)
    {
        const gavel_bytes all[] = {bytes(keys)...};
        return gavel_del_many(tx_, all, sizeof...(keys));
    }
    bool append(bytes key, bytes value) { return gavel_append(tx_, key, value); }
    bool incr(bytes key, std::int64_t by) { return gavel_incr(tx_, key, by); }
    bool hset(bytes key, bytes field, bytes value) { return gavel_hset(tx_, key, field, value); }
    bool hset_int(bytes key, bytes field, std::int64_t value)
    {
        return gavel_hset_int(tx_, key, field, value);
    }
    bool hset_double(bytes key, bytes field, double value)
    {
        return gavel_hset_double(tx_, key, field, value);
    }
    bool hincr(bytes key, bytes field, std::int64_t by) { return gavel_hincr(tx_, key, field, by); }
    bool hdel(bytes key, bytes field) { return gavel_hdel(tx_, key, field); }
    template <std::size_t N> bool write(const command<N> &what)
    {
        return gavel_write(tx_, what.get());
    }

    /* ---- Deciding */

    gavel_verdict abort(int code) { return gavel_abort(tx_, code); }
    bool set_result(bytes result) { return gavel_set_result(tx_, result); }
    std::uint32_t attempt() const { return gavel_attempt(tx_); }

private:
    /* By reference: the arguments of a call are evaluated in any order. */
    template <class Value>
    static std::optional<Value> value_if(gavel_found found, const Value &value)
    {
        return found == GAVEL_FOUND ? std::optional<Value>(value) : std::nullopt;
    }
    static std::optional<std::string_view> text_if(gavel_found found, const gavel_bytes &value)
    {
        return value_if(found, view(value));
    }

    gavel_tx *tx_;
};

/* ---- Transactions -------------------------------------------------------------------------- */

/*
 * What is asked for, all of it optional; each call gives back the object, for the next one. Copies
 * no bytes: they, and commands that are to be read, have to live until client::run or
 * client::submit has returned.
 */
class transaction
{
public:
    transaction &key(bytes name)
    {
        keys_.push_back(name);
        return *this;
    }
    transaction &read(bytes name)
    {
        gavel_read one{};
        one.key = name;
        reads_.push_back(one);
        return *this;
    }
    transaction &read(bytes name, bytes field)
    {
        gavel_read one{};
        one.key = name;
        one.field = field;
        reads_.push_back(one);
        return *this;
    }
    template <std::size_t N> transaction &read(const command<N> &what)
    {
        gavel_read one{};
        one.command = what.get();
        reads_.push_back(one);
        return *this;
    }
    transaction &id(bytes name)
    {
        options_.id = name;
        return *this;
    }
    transaction &digest(bytes hash)
    {
        options_.digest = hash;
        return *this;
    }
    transaction &deadline_ms(std::uint32_t ms)
    {
        options_.deadline_ms = ms;
        return *this;
    }
    transaction &max_attempts(std::uint32_t n)
    {
        options_.max_attempts = n;
        return *this;
    }
    transaction &max_conflicts(std::uint32_t n)
    {
        options_.max_conflicts = n;
        return *this;
    }
    transaction &min_replicas(std::uint32_t n)
    {
        options_.min_replicas = n;
        return *this;
    }
    transaction &needs_fsync()
    {
        options_.needs_fsync = true;
        return *this;
    }
    transaction &durable_ms(std::uint32_t ms)
    {
        options_.durable_ms = ms;
        return *this;
    }
    transaction &max_faults(std::uint32_t n)
    {
        options_.max_faults = n;
        return *this;
    }
    transaction &read_only()
    {
        options_.is_read_only = true;
        return *this;
    }
    /* Read-only as well. 0: however old. */
    transaction &stale_ok(std::uint32_t max_stale_ms = 0)
    {
        options_.is_read_only = true;
        options_.is_stale_ok = true;
        options_.max_stale_ms = max_stale_ms;
        return *this;
    }
    transaction &solo()
    {
        options_.is_solo = true;
        return *this;
    }
    transaction &keep_replies()
    {
        options_.keep_replies = true;
        return *this;
    }

    /* As C takes it, without a body. Points into this object. */
    gavel_transaction get() const
    {
        gavel_transaction c = options_;
        c.keys = keys_.data();
        c.n_keys = keys_.size();
        c.reads = reads_.data();
        c.n_reads = reads_.size();
        return c;
    }

private:
    gavel_transaction options_{};
    std::vector<gavel_bytes> keys_;
    std::vector<gavel_read> reads_;
};

/* ---- Outcomes ------------------------------------------------------------------------------ */

/* The abort_code where the body was left by an exception. */
inline constexpr int threw = INT_MIN;

/* What became of a transaction: gavel_outcome with all its fields, which frees its replies. */
class outcome : public gavel_outcome
{
public:
    /* Takes the replies over. */
    explicit outcome(const gavel_outcome &from) noexcept : gavel_outcome(from) {}

    outcome(outcome &&other) noexcept : gavel_outcome(other), thrown_(std::move(other.thrown_))
    {
        other.give_up_replies();
    }

    outcome &operator=(outcome &&other) noexcept
    {
        if (this != &other) {
            gavel_outcome_clear(this);
            static_cast<gavel_outcome &>(*this) = other;
            thrown_ = std::move(other.thrown_);
            other.give_up_replies();
        }
        return *this;
    }

    ~outcome() { gavel_outcome_clear(this); }

    /* Whether the writes took effect: COMMITTED, also WITH_ERRORS or NOT_DURABLE. */
    explicit operator bool() const noexcept { return gavel_is_committed(this); }

    /* One line for people; see gavel_outcome_text. Of an exception, its words. */
    std::string text() const
    {
        char line[GAVEL_OUTCOME_TEXT_SIZE];
        std::string all = gavel_outcome_text(this, line, sizeof(line));
#if defined(__cpp_exceptions)
        try {
            rethrow();
        } catch (const std::exception &exception) {
            all.append(": it threw: ").append(exception.what());
        } catch (...) {
            all.append(": it threw");
        }
#endif
        return all;
    }

    /* What the body set as its result. */
    std::string_view result_view() const noexcept
    {
        return std::string_view(result, result_size);
    }

#if defined(__cpp_exceptions)
    /* Throws what the body threw, if it threw and the outcome is ABORTED. client::run does it. */
    void rethrow() const
    {
        if (thrown_ != nullptr && status == GAVEL_ABORTED)
            std::rethrow_exception(thrown_);
    }
#endif

private:
    template <class Body> friend class job;

    outcome(const gavel_outcome &from, std::exception_ptr thrown) noexcept
        : gavel_outcome(from), thrown_(std::move(thrown))
    {
    }

    void give_up_replies() noexcept
    {
        replies = nullptr;
        n_replies = 0;
    }

    std::exception_ptr thrown_; /* of the last run of the body */
};

/* What goes through C as `user`: a body, and what it threw. For the client below. */
template <class Body> class job
{
    static_assert(std::is_invocable_v<Body &, tx &>, "a body takes a gavel::tx");

public:
    explicit job(Body body) : body_(std::forward<Body>(body)) {}

    static gavel_verdict run(gavel_tx *from, void *user) noexcept
    {
        job *self = static_cast<job *>(user);
        self->thrown_ = nullptr;
#if defined(__cpp_exceptions)
        try {
            return self->decide(from);
        } catch (...) {
            self->thrown_ = std::current_exception();
            return gavel_abort(from, threw);
        }
#else
        return self->decide(from);
#endif
    }

    outcome owned(const gavel_outcome &from) const noexcept
    {
        return outcome(from, thrown_);
    }

    /* Shows an outcome whose replies stay the lender's. */
    template <class Done> void show(const gavel_outcome &from, Done &done) const
    {
        outcome lent(from, thrown_);
        done(static_cast<const outcome &>(lent));
        lent.give_up_replies();
    }

private:
    gavel_verdict decide(gavel_tx *from)
    {
        tx attempt(from);
        if constexpr (std::is_void_v<std::invoke_result_t<Body &, tx &>>) {
            body_(attempt);
            return GAVEL_COMMIT;
        } else {
            return body_(attempt);
        }
    }

    Body body_;
    std::exception_ptr thrown_;
};

/* ---- Clients ------------------------------------------------------------------------------- */

/* A program's handle on one server; see gavel/client.h for its two kinds. Closes itself. */
class client
{
public:
    /* None. */
    client() noexcept = default;

    /* Takes one over. */
    explicit client(gavel_client *from) noexcept : client_(from) {}

    client(client &&other) noexcept : client_(std::exchange(other.client_, nullptr)) {}

    client &operator=(client &&other) noexcept
    {
        if (this != &other) {
            close();
            client_ = std::exchange(other.client_, nullptr);
        }
        return *this;
    }

    ~client() { close(); }

    /* As gavel_open; where that fails the client is none: `if (!client)`. */
    static client open(const char *url = nullptr, const gavel_config *config = nullptr,
        gavel_error *ret_error = nullptr)
    {
        return client(gavel_open(url, config, ret_error));
    }

    explicit operator bool() const noexcept { return client_ != nullptr; }

    /* For the calls of C. Stays this object's. */
    gavel_client *get() const noexcept { return client_; }

    /* As gavel_close; then the client is none. */
    void close() noexcept { gavel_close(std::exchange(client_, nullptr)); }

    /*
     * Runs a transaction, as gavel_run does. The body is anything that can be called with a
     * gavel::tx and returns a gavel_verdict, or nothing, which is GAVEL_COMMIT; it is not copied.
     * Any thread may run it, one at a time. Throws what the body threw, as said above.
     */
    template <class Body> outcome run(const transaction &what, Body &&body)
    {
        job<Body &> one(body);
        gavel_transaction c = what.get();
        c.body = one.run;
        c.user = &one;
        outcome result = one.owned(gavel_run(client_, &c));
#if defined(__cpp_exceptions)
        result.rethrow();
#endif
        return result;
    }

    /*
     * Starts a transaction on an attached client, as gavel_submit does, and returns its ticket.
     * Takes body and done over, until done has returned, or this where it returns 0. `done` is
     * called with a const gavel::outcome &, which lives until it returns and whose rethrow()
     * throws what the body threw; it must not let an exception out itself.
     */
    template <class Body, class Done>
    gavel_ticket submit(const transaction &what, Body &&body, Done &&done)
    {
        using both = submission<std::decay_t<Body>, std::decay_t<Done>>;
        std::unique_ptr<both> one(
            new (std::nothrow) both(std::forward<Body>(body), std::forward<Done>(done)));
        if (one == nullptr)
            return 0;
        gavel_transaction c = what.get();
        c.body = both::run;
        c.user = one.get();
        gavel_ticket ticket = gavel_submit(client_, &c, both::told);
        if (ticket != 0)
            one.release();
        return ticket;
    }

    /* As gavel_cancel. */
    bool cancel(gavel_ticket ticket)
    {
        return gavel_cancel(client_, ticket);
    }

private:
    /* What is taken over. */
    template <class Body, class Done> struct submission {
        submission(Body body, Done on_done) : work(std::move(body)), done(std::move(on_done)) {}

        static gavel_verdict run(gavel_tx *from, void *user) noexcept
        {
            return job<Body>::run(from, &static_cast<submission *>(user)->work);
        }

        static void told(const gavel_outcome *from, void *user) noexcept
        {
            std::unique_ptr<submission> self(static_cast<submission *>(user));
            self->work.show(*from, self->done);
        }

        job<Body> work;
        Done done;
    };

    gavel_client *client_ = nullptr;
};

} // namespace with_exceptions, or without
} // namespace gavel

#endif

/*
 * gavel's locks for C++17 and newer, as gavel/gavel.hpp is for transactions: a lock that releases
 * itself, and lambdas for what is told of it.
 *
 *     gavel::lock lock = gavel::lock::acquire(client,
 *         gavel::lock_request("report:7").wait_ms(2000),
 *         [&](gavel_lock_reason) { must_stop = true; });
 *     if (!lock)
 *         return fail(lock.outcome().message);
 *     write_report(lock.fence());
 *
 * What a lock promises, and what not, stands in gavel/lock.h, and so does what each call means;
 * lock::get() gives the pointer that C takes. gavel throws no exception here, and no callback may
 * let one out.
 */
#ifndef GAVEL_LOCK_HPP
#define GAVEL_LOCK_HPP

#include <gavel/gavel.hpp>

namespace gavel
{

#if defined(__cpp_exceptions)
inline namespace with_exceptions
#else
inline namespace without_exceptions
#endif
{

/* What is asked for; each call gives back the object, for the next one. Copies no bytes. */
class lock_request
{
public:
    explicit lock_request(bytes name) noexcept { options_.name = name; }

    lock_request &lease_ms(std::uint32_t ms) noexcept
    {
        options_.lease_ms = ms;
        return *this;
    }
    lock_request &wait_ms(std::uint32_t ms) noexcept
    {
        options_.wait_ms = ms;
        return *this;
    }
    /* Its is_try: does not wait. */
    lock_request &only_try() noexcept
    {
        options_.is_try = true;
        return *this;
    }
    /* Its is_fixed: the lease is not renewed. */
    lock_request &fixed() noexcept
    {
        options_.is_fixed = true;
        return *this;
    }

    /* As C takes it, without callbacks. */
    gavel_lock_request get() const noexcept { return options_; }

private:
    gavel_lock_request options_{};
};

/* What became of a call on a lock: gavel_lock_outcome with all its fields, which frees its reply.
 */
class lock_outcome : public gavel_lock_outcome
{
public:
    /* Takes the reply over. */
    explicit lock_outcome(const gavel_lock_outcome &from) noexcept : gavel_lock_outcome(from) {}

    lock_outcome(lock_outcome &&other) noexcept : gavel_lock_outcome(other)
    {
        other.reply = nullptr;
    }

    lock_outcome &operator=(lock_outcome &&other) noexcept
    {
        if (this != &other) {
            gavel_lock_outcome_clear(this);
            static_cast<gavel_lock_outcome &>(*this) = other;
            other.reply = nullptr;
        }
        return *this;
    }

    ~lock_outcome() { gavel_lock_outcome_clear(this); }
};

/*
 * A grant, from when it is held until this object ends or is told to release it; or none, where it
 * could not be had. It has to end before its client, and not inside a body or a hook.
 */
class lock
{
public:
    /* None. */
    lock() noexcept = default;

    lock(lock &&other) noexcept
        : got_(other.got_), watch_(std::exchange(other.watch_, nullptr)),
          is_attached_(other.is_attached_)
    {
        other.got_.lock = nullptr;
    }

    lock &operator=(lock &&other) noexcept
    {
        if (this != &other) {
            close();
            got_ = other.got_;
            other.got_.lock = nullptr;
            watch_ = std::exchange(other.watch_, nullptr);
            is_attached_ = other.is_attached_;
        }
        return *this;
    }

    ~lock() { close(); }

    /* As gavel_lock_acquire, on a blocking client; where that is not HELD, the lock is none. */
    static lock acquire(client &on, const lock_request &what)
    {
        gavel_lock_request c = what.get();
        return lock(gavel_lock_acquire(on.get(), &c), nullptr, false);
    }

    /*
     * The same; `on_lost` is taken over, and called with the gavel_lock_reason if the lock is lost
     * before it ends: once, in any thread, and under the rules of gavel_lock_lost.
     */
    template <class Lost> static lock acquire(client &on, const lock_request &what, Lost &&on_lost)
    {
        using mine = watching<std::decay_t<Lost>>;
        auto one = new (std::nothrow) mine(std::forward<Lost>(on_lost));
        if (one == nullptr)
            return lock(no_memory(), nullptr, false);
        gavel_lock_request c = what.get();
        c.on_lost = tell_lost;
        c.user = static_cast<watch *>(one);
        return lock(gavel_lock_acquire(on.get(), &c), one, false);
    }

    /*
     * As gavel_lock_begin_acquire, on an attached client, and returns its ticket, for
     * gavel_lock_cancel. `done` is called with a gavel::lock, which is its to keep. Takes both
     * over, unless it returns 0. on_lost may end the lock.
     */
    template <class Done, class Lost>
    static gavel_ticket begin_acquire(
        client &on, const lock_request &what, Done &&done, Lost &&on_lost)
    {
        using mine = awaiting<std::decay_t<Done>, std::decay_t<Lost>>;
        std::unique_ptr<mine> one(
            new (std::nothrow) mine(std::forward<Done>(done), std::forward<Lost>(on_lost)));
        if (one == nullptr)
            return 0;
        gavel_lock_request c = what.get();
        c.on_lost = tell_lost;
        c.user = static_cast<watch *>(one.get());
        gavel_ticket ticket = gavel_lock_begin_acquire(on.get(), &c, mine::told);
        if (ticket != 0)
            one.release();
        return ticket;
    }
    template <class Done>
    static gavel_ticket begin_acquire(client &on, const lock_request &what, Done &&done)
    {
        return begin_acquire(on, what, std::forward<Done>(done), [](gavel_lock_reason) {});
    }

    /* Whether it was had, and is still to be released; remaining_ms() says if it was lost. */
    explicit operator bool() const noexcept { return got_.lock != nullptr; }

    /* What became of acquiring it. */
    const gavel_lock_outcome &outcome() const noexcept { return got_; }

    /* For the calls of C; the release is this object's. */
    gavel_lock *get() const noexcept { return got_.lock; }

    std::int64_t fence() const noexcept { return gavel_lock_fence(got_.lock); }
    std::int64_t remaining_ms() const noexcept { return gavel_lock_remaining_ms(got_.lock); }

    /* As gavel_lock_extend, on a blocking client. */
    gavel_lock_outcome extend(std::uint32_t lease_ms = 0)
    {
        return gavel_lock_extend(got_.lock, lease_ms);
    }

    /* As gavel_lock_do, on a blocking client, with the reply. */
    template <std::size_t N> lock_outcome run(const command<N> &what, std::uint32_t deadline_ms = 0)
    {
        gavel_lock_command c{};
        c.command = *what.get();
        c.deadline_ms = deadline_ms;
        c.keep_reply = true;
        return lock_outcome(gavel_lock_do(got_.lock, &c));
    }

    /* As gavel_lock_release, on a blocking client; then the lock is none, unless that was INVALID.
     */
    gavel_lock_outcome release() noexcept
    {
        gavel_lock_outcome outcome = gavel_lock_release(got_.lock);
        if (outcome.status != GAVEL_LOCK_INVALID)
            leave();
        return outcome;
    }

    /* Releases it, on a client of either kind, whatever comes of it; then the lock is none. */
    void close() noexcept
    {
        if (got_.lock == nullptr || has_released())
            leave();
        got_.lock = nullptr; /* what may still be told of it stays */
        watch_ = nullptr;
    }

private:
    /* What goes through C as `user`. */
    struct watch {
        virtual ~watch() = default;
        virtual void lost(gavel_lock_reason reason) = 0;
        bool is_telling = false;
        bool is_left = false; /* meanwhile, by its lock */
    };

    template <class Lost> struct watching : watch {
        explicit watching(Lost on_lost) : tell(std::move(on_lost)) {}

        void lost(gavel_lock_reason reason) override { tell(reason); }

        Lost tell;
    };

    template <class Done, class Lost> struct awaiting : watching<Lost> {
        awaiting(Done on_done, Lost on_lost)
            : watching<Lost>(std::move(on_lost)), done(std::move(on_done))
        {
        }

        static void told(const gavel_lock_outcome *from, void *user) noexcept
        {
            auto self = static_cast<awaiting *>(static_cast<watch *>(user));
            Done done(std::move(self->done));
            done(lock(*from, self, true));
        }

        Done done;
    };

    /* Takes over `told`, which may be NULL. */
    lock(const gavel_lock_outcome &got, watch *told, bool is_attached) noexcept
        : got_(got), watch_(told), is_attached_(is_attached)
    {
        if (got_.lock == nullptr)
            leave();
    }

    static void tell_lost(gavel_lock *, gavel_lock_reason reason, void *user) noexcept
    {
        watch *self = static_cast<watch *>(user);
        self->is_telling = true;
        self->lost(reason);
        self->is_telling = false;
        if (self->is_left)
            delete self;
    }

    static gavel_lock_outcome no_memory() noexcept
    {
        gavel_lock_outcome outcome{};
        outcome.status = GAVEL_LOCK_NOT_SENT;
        std::string_view("no memory").copy(outcome.message, sizeof(outcome.message) - 1);
        return outcome;
    }

    bool has_released() noexcept
    {
        return is_attached_ ? gavel_lock_begin_release(got_.lock, nullptr, nullptr)
                            : gavel_lock_release(got_.lock).status != GAVEL_LOCK_INVALID;
    }

    /* Nothing more is told of it. */
    void leave() noexcept
    {
        got_.lock = nullptr;
        if (watch_ != nullptr && watch_->is_telling)
            watch_->is_left = true;
        else
            delete watch_;
        watch_ = nullptr;
    }

    gavel_lock_outcome got_{};
    watch *watch_ = nullptr;
    bool is_attached_ = false;
};

} // namespace with_exceptions, or without
} // namespace gavel

#endif

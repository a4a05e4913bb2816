/* Signals of a dyno, for extensions. None comes from outside, so that sets of signals are empty and nothing is ever blocked or
 * pending. A handler runs for raise() in the dyno alone. */
#pragma GCC system_header
#include_next <signal.h>

#ifndef CORUNDUM_SIGNAL_H
#define CORUNDUM_SIGNAL_H

#define __NEED_size_t
#define __NEED_pid_t
#define __NEED_uid_t
#define __NEED_clock_t
#define __NEED_time_t
#define __NEED_struct_timespec
#define __NEED_pthread_t
#define __NEED_sigset_t
#include <bits/alltypes.h>
#include <errno.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef SIG_BLOCK
#define SIG_BLOCK 0
#define SIG_UNBLOCK 1
#define SIG_SETMASK 2
#endif
#ifndef SA_NOCLDSTOP
#define SA_NOCLDSTOP 1
#define SA_NOCLDWAIT 2
#define SA_SIGINFO 4
#define SA_ONSTACK 0x08000000
#define SA_RESTART 0x10000000
#define SA_NODEFER 0x40000000
#define SA_RESETHAND 0x80000000
#define SA_RESTORER 0x04000000
#endif
#ifndef SI_USER
#define SI_USER 0
#define SI_QUEUE (-1)
#define SI_TIMER (-2)
#endif
#ifndef SS_DISABLE
#define SS_ONSTACK 1
#define SS_DISABLE 2
#endif
#ifndef MINSIGSTKSZ
#define MINSIGSTKSZ 2048
#define SIGSTKSZ 8192
#endif

union sigval {
    int sival_int;
    void *sival_ptr;
};

typedef struct {
    int si_signo, si_errno, si_code;
    pid_t si_pid;
    uid_t si_uid;
    int si_status;
    void *si_addr;
    long si_band;
    int si_fd;
    union sigval si_value;
} siginfo_t;

typedef struct {
    void *ss_sp;
    int ss_flags;
    size_t ss_size;
} stack_t;

struct sigaction {
    union {
        void (*sa_handler)(int);
        void (*sa_sigaction)(int, siginfo_t *, void *);
    } __sa_handler;
    sigset_t sa_mask;
    int sa_flags;
    void (*sa_restorer)(void);
};
#define sa_handler __sa_handler.sa_handler
#define sa_sigaction __sa_handler.sa_sigaction

int kill(pid_t, int);

static __inline__ int sigemptyset(sigset_t *set)
{
    *set = 0;
    return 0;
}

static __inline__ int sigfillset(sigset_t *set)
{
    *set = 0;
    return 0;
}

static __inline__ int sigaddset(sigset_t *set, int number)
{
    (void)set, (void)number;
    return 0;
}

static __inline__ int sigdelset(sigset_t *set, int number)
{
    (void)set, (void)number;
    return 0;
}

static __inline__ int sigismember(const sigset_t *set, int number)
{
    (void)set, (void)number;
    return 0;
}

static __inline__ int sigpending(sigset_t *set)
{
    return sigemptyset(set);
}

static __inline__ int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
    (void)how, (void)set;
    return old ? sigemptyset(old) : 0;
}

static __inline__ int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    return sigprocmask(how, set, old);
}

static __inline__ int sigaltstack(const stack_t *stack, stack_t *old)
{
    (void)stack, (void)old;
    errno = ENOSYS;
    return -1;
}

/* A handler that takes information about its signal is never called: only raise() calls handlers, and it has none. */
static __inline__ int sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    void (*handler)(int) = SIG_DFL;
    if (action && !(action->sa_flags & SA_SIGINFO)) handler = action->sa_handler;
    void (*before)(int) = action ? signal(number, handler) : SIG_DFL;
    if (before == SIG_ERR) return -1;
    if (old) {
        old->sa_handler = before;
        old->sa_mask = 0;
        old->sa_flags = 0;
        old->sa_restorer = 0;
    }
    return 0;
}

#ifdef __cplusplus
}
#endif
#endif

/* Limits of a dyno, for extensions. Stacks have one, of which that of threads is the smallest; the host sets all others. */
#pragma GCC system_header
#include_next <sys/resource.h>

#ifndef CORUNDUM_SYS_RESOURCE_H
#define CORUNDUM_SYS_RESOURCE_H

#include <errno.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef unsigned long long rlim_t;
struct rlimit {
    rlim_t rlim_cur;
    rlim_t rlim_max;
};
#define RLIM_INFINITY (~0ULL)
#define RLIM_SAVED_CUR RLIM_INFINITY
#define RLIM_SAVED_MAX RLIM_INFINITY
#define RLIMIT_CPU 0
#define RLIMIT_FSIZE 1
#define RLIMIT_DATA 2
#define RLIMIT_STACK 3
#define RLIMIT_CORE 4
#define RLIMIT_RSS 5
#define RLIMIT_NPROC 6
#define RLIMIT_NOFILE 7
#define RLIMIT_MEMLOCK 8
#define RLIMIT_AS 9

#define PRIO_PROCESS 0
#define PRIO_PGRP 1
#define PRIO_USER 2

static __inline__ int getrlimit(int resource, struct rlimit *limit)
{
    limit->rlim_cur = limit->rlim_max = resource == RLIMIT_STACK ? 768 << 10 : RLIM_INFINITY;
    return 0;
}

static __inline__ int setrlimit(int resource, const struct rlimit *limit)
{
    (void)resource, (void)limit;
    errno = EPERM;
    return -1;
}

static __inline__ int getpriority(int which, id_t who)
{
    (void)which, (void)who;
    return 0;
}

static __inline__ int setpriority(int which, id_t who, int priority)
{
    (void)which, (void)who, (void)priority;
    errno = EPERM;
    return -1;
}

#ifdef __cplusplus
}
#endif
#endif

/*
 * Declarations of the functions in this directory. config.h of MRI includes it (steps/configure.sh), so that all of MRI
 * calls them. They have names of their own in the linked module, because wasi-libc defines some of them, and MRI has
 * stubs of others.
 */
#ifndef DYNO_POSIX_H
#define DYNO_POSIX_H

#ifndef __ASSEMBLER__

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* MRI's own, and not the function of the gem bcrypt that has the same name and knows one kind of hash. */
#ifdef RUBY_EXPORT
#define crypt_r dyno_crypt_r
#endif

#define DYNO(name) __asm__("dyno_" #name)

/* Functions that configure does not find, since the headers leave them out. */
#define HAVE_DUP3 1
#define HAVE_FCHOWN 1
#define HAVE_FLOCK 1
#define HAVE_GETGRNAM 1
#define HAVE_GETGROUPS 1
#define HAVE_GETLOGIN 1
#define HAVE_GETPWNAM 1
#define HAVE_GETPWUID 1
#define HAVE_GRP_H 1
#define HAVE_LCHMOD 1
#define HAVE_LCHOWN 1
#define HAVE_PWD_H 1
#define HAVE_UMASK 1

#define F_DUPFD 0
#define F_DUPFD_CLOEXEC 1030
#define F_GETLK 5
#define F_SETLK 6
#define F_SETLKW 7

#define F_RDLCK 0
#define F_WRLCK 1
#define F_UNLCK 2

/* st_dev of files that several dynos have open at once: those of a volume. */
#define DYNO_SHARED_DEVICE 2

#define LOCK_SH 1
#define LOCK_EX 2
#define LOCK_NB 4
#define LOCK_UN 8

#ifdef __cplusplus
extern "C" {
#endif
int open(const char *, int, ...) DYNO(open);
int mkdir(const char *, mode_t) DYNO(mkdir);
int stat(const char *__restrict, struct stat *__restrict) DYNO(stat);
int lstat(const char *__restrict, struct stat *__restrict) DYNO(lstat);
int fstat(int, struct stat *) DYNO(fstat);
int fstatat(int, const char *__restrict, struct stat *__restrict, int) DYNO(fstatat);
int access(const char *, int) DYNO(access);
int faccessat(int, const char *, int, int) DYNO(faccessat);
int chdir(const char *) DYNO(chdir);
int fcntl(int, int, ...) DYNO(fcntl);
int flock(int, int) DYNO(flock);
int chmod(const char *, mode_t) DYNO(chmod);
int fchmod(int, mode_t) DYNO(fchmod);
int lchmod(const char *, mode_t) DYNO(lchmod);
int chown(const char *, uid_t, gid_t) DYNO(chown);
int lchown(const char *, uid_t, gid_t) DYNO(lchown);
int fchown(int, uid_t, gid_t) DYNO(fchown);
mode_t umask(mode_t) DYNO(umask);
int dup(int) DYNO(dup);
int dup2(int, int) DYNO(dup2);
int dup3(int, int, int) DYNO(dup3);
FILE *freopen(const char *__restrict, const char *__restrict, FILE *__restrict) DYNO(freopen);

struct tm *localtime_r(const time_t *__restrict, struct tm *__restrict) DYNO(localtime_r);
struct tm *localtime(const time_t *) DYNO(localtime);
time_t mktime(struct tm *) DYNO(mktime);
void tzset(void) DYNO(tzset);

pid_t getpid(void) DYNO(getpid);
uid_t getuid(void) DYNO(getuid);
uid_t geteuid(void) DYNO(geteuid);
gid_t getgid(void) DYNO(getgid);
gid_t getegid(void) DYNO(getegid);
int getgroups(int, gid_t *) DYNO(getgroups);
char *getlogin(void) DYNO(getlogin);
#ifdef __cplusplus
}
#endif

#endif

#endif

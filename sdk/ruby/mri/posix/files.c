/*
 * File functions of POSIX that WASI lacks, on calls of the host (host/src/os/calls.rs). Those that wasi-libc defines with
 * less than POSIX asks for have other names in the linked module (posix.h), so that both exist.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "posix.h"

#define HOST(name) __attribute__((import_module("corundum_posix"), import_name(#name)))

HOST(open) int host_open(const char *path, size_t length, int flags, int mode, int *fd);
HOST(make_directory) int host_make_directory(const char *path, size_t length, int mode);
HOST(set_mode) int host_set_mode(const char *path, size_t length, int follow, int mode);
HOST(fd_set_mode) int host_fd_set_mode(int fd, int mode);
HOST(lock) int host_lock(int fd, int kind);
HOST(record_lock) int host_record_lock(int fd, int command, struct flock *lock);
HOST(duplicate) int host_duplicate(int fd, int least, int *copy);
HOST(duplicate_to) int host_duplicate_to(int fd, int to);
HOST(real_directory) int host_real_directory(const char *path, size_t length, char *buffer, size_t size, size_t *used);

struct dyno_status {
    uint64_t inode, links, size;
    int64_t accessed, modified, changed;
    uint32_t mode, user, group, device;
};
HOST(status) int host_status(int fd, const char *path, size_t length, int follow, struct dyno_status *result);
HOST(fd_status) int host_fd_status(int fd, struct dyno_status *result);

/* Descriptor of the root directory, from which the host resolves absolute paths. */
#define ROOT 3
/* Room for the working directory and a path relative to it. */
#define MAX_ABSOLUTE (2 * PATH_MAX)

/* Defined by wasi-libc. */
extern char *__wasilibc_cwd;

static int
result_of(int error)
{
    if (error == 0) return 0;
    errno = error;
    return -1;
}

struct absolute {
    const char *path;
    size_t length;
    char buffer[MAX_ABSOLUTE];
};

/* Puts the working directory in front of a relative path. Fails for paths that no call accepts. */
static int
make_absolute(const char *path, struct absolute *absolute)
{
    size_t length = strlen(path);

    if (length == 0) return result_of(ENOENT);
    if (length >= PATH_MAX) return result_of(ENAMETOOLONG);
    absolute->path = path;
    absolute->length = length;
    if (path[0] != '/') {
        size_t prefix = strlen(__wasilibc_cwd);
        if (prefix + 1 + length >= MAX_ABSOLUTE) return result_of(ENAMETOOLONG);
        memcpy(absolute->buffer, __wasilibc_cwd, prefix);
        absolute->buffer[prefix] = '/';
        memcpy(absolute->buffer + prefix + 1, path, length + 1);
        absolute->path = absolute->buffer;
        absolute->length = prefix + 1 + length;
    }
    return 0;
}

/* -- open ---------------------------------------------------------------------------------------------------------- */

static mode_t creation_mask = 022;

mode_t
umask(mode_t mask)
{
    mode_t before = creation_mask;
    creation_mask = mask & 0777;
    return before;
}

/* Converts wasi-libc's flags of open to Linux's numbers. No access mode is Linux's O_RDONLY, whose number is 0. */
static int
linux_flags(int flags)
{
    int access = flags & (O_RDONLY | O_WRONLY);
    int converted = access == O_WRONLY ? 1 : access == O_RDWR ? 2 : 0;

    if (flags & O_CREAT) converted |= 0100;
    if (flags & O_EXCL) converted |= 0200;
    if (flags & O_TRUNC) converted |= 01000;
    if (flags & O_APPEND) converted |= 02000;
    if (flags & O_NONBLOCK) converted |= 04000;
    if (flags & O_DSYNC) converted |= 010000;
    if (flags & O_SYNC) converted |= 04010000;
    if (flags & O_DIRECTORY) converted |= 0200000;
    if (flags & O_NOFOLLOW) converted |= 0400000;
    return converted;
}

int
open(const char *path, int flags, ...)
{
    struct absolute absolute;
    int mode = 0, fd;

    if (flags & O_CREAT) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, int);
        va_end(arguments);
    }
    if (make_absolute(path, &absolute)) return -1;
    mode &= ~creation_mask;
    if (result_of(host_open(absolute.path, absolute.length, linux_flags(flags), mode, &fd))) return -1;
    return fd;
}

int
mkdir(const char *path, mode_t mode)
{
    struct absolute absolute;

    if (make_absolute(path, &absolute)) return -1;
    return result_of(host_make_directory(absolute.path, absolute.length, mode & ~creation_mask & 01777));
}

/* -- stat ---------------------------------------------------------------------------------------------------------- */

int real_fstat(int fd, struct stat *stat) __asm__("fstat");

static struct timespec
timespec_of(int64_t nanoseconds)
{
    struct timespec time = { nanoseconds / 1000000000, nanoseconds % 1000000000 };
    if (time.tv_nsec < 0) {
        time.tv_sec--;
        time.tv_nsec += 1000000000;
    }
    return time;
}

static void
fill(struct stat *stat, const struct dyno_status *status)
{
    memset(stat, 0, sizeof *stat);
    stat->st_dev = status->device;
    stat->st_ino = status->inode;
    stat->st_nlink = status->links;
    stat->st_mode = status->mode;
    stat->st_uid = status->user;
    stat->st_gid = status->group;
    stat->st_size = status->size;
    stat->st_blksize = 4096;
    stat->st_blocks = (status->size + 511) / 512;
    stat->st_atim = timespec_of(status->accessed);
    stat->st_mtim = timespec_of(status->modified);
    stat->st_ctim = timespec_of(status->changed);
}

static int
status_at(int fd, const char *path, size_t length, int follow, struct stat *stat)
{
    struct dyno_status status;

    if (result_of(host_status(fd, path, length, follow, &status))) return -1;
    fill(stat, &status);
    return 0;
}

static int
status_of(const char *path, int follow, struct stat *stat)
{
    struct absolute absolute;

    if (make_absolute(path, &absolute)) return -1;
    return status_at(ROOT, absolute.path, absolute.length, follow, stat);
}

int
stat(const char *path, struct stat *stat)
{
    return status_of(path, 1, stat);
}

int
lstat(const char *path, struct stat *stat)
{
    return status_of(path, 0, stat);
}

int
fstat(int fd, struct stat *stat)
{
    struct dyno_status status;
    int error = host_fd_status(fd, &status);

    /* A stream or a socket. */
    if (error == ENOSYS) return real_fstat(fd, stat);
    if (result_of(error)) return -1;
    fill(stat, &status);
    return 0;
}

int
fstatat(int fd, const char *path, struct stat *stat, int flags)
{
    int follow = !(flags & AT_SYMLINK_NOFOLLOW);

    if (fd == AT_FDCWD || path[0] == '/') return status_of(path, follow, stat);
    return status_at(fd, path, strlen(path), follow, stat);
}

/* Whether the dyno's user may do with a file what `wanted` asks for. Files of others belong to the pack. */
static int
check_access(const struct stat *stat, int wanted)
{
    int own = stat->st_uid == getuid();
    int allowed = own ? stat->st_mode >> 6 : stat->st_mode;
    int bits = (wanted & R_OK ? 4 : 0) | (wanted & W_OK ? 2 : 0) | (wanted & X_OK ? 1 : 0);

    if ((wanted & W_OK) && !own && !S_ISCHR(stat->st_mode)) return result_of(EROFS);
    return (bits & ~allowed) ? result_of(EACCES) : 0;
}

int
access(const char *path, int wanted)
{
    struct stat stat;

    return status_of(path, 1, &stat) ? -1 : check_access(&stat, wanted);
}

int
faccessat(int fd, const char *path, int wanted, int flags)
{
    struct stat stat;

    return fstatat(fd, path, &stat, flags) ? -1 : check_access(&stat, wanted);
}

/* -- attributes ---------------------------------------------------------------------------------------------------- */

static int
set_mode(const char *path, int follow, mode_t mode)
{
    struct absolute absolute;

    if (make_absolute(path, &absolute)) return -1;
    return result_of(host_set_mode(absolute.path, absolute.length, follow, mode & 07777));
}

int
chmod(const char *path, mode_t mode)
{
    return set_mode(path, 1, mode);
}

int
lchmod(const char *path, mode_t mode)
{
    return set_mode(path, 0, mode);
}

int
fchmod(int fd, mode_t mode)
{
    return result_of(host_fd_set_mode(fd, mode & 07777));
}

/* Only root may give a file away, and a dyno is not root. */
static int
check_owner(const struct stat *stat, uid_t user, gid_t group)
{
    int keeps_user = user == (uid_t)-1 || user == stat->st_uid;
    int keeps_group = group == (gid_t)-1 || group == stat->st_gid;

    if (stat->st_uid != getuid()) return result_of(user == (uid_t)-1 && group == (gid_t)-1 ? 0 : EROFS);
    return keeps_user && keeps_group ? 0 : result_of(EPERM);
}

int
chown(const char *path, uid_t user, gid_t group)
{
    struct stat stat;

    return status_of(path, 1, &stat) ? -1 : check_owner(&stat, user, group);
}

int
lchown(const char *path, uid_t user, gid_t group)
{
    struct stat stat;

    return status_of(path, 0, &stat) ? -1 : check_owner(&stat, user, group);
}

int
fchown(int fd, uid_t user, gid_t group)
{
    struct stat stat;

    return fstat(fd, &stat) ? -1 : check_owner(&stat, user, group);
}

/* -- descriptors --------------------------------------------------------------------------------------------------- */

/*
 * Never waits: a lock that another descriptor or dyno holds is EWOULDBLOCK in any case. MRI tries again later, and runs other
 * threads meanwhile.
 */
int
flock(int fd, int operation)
{
    switch (operation & ~LOCK_NB) {
      case LOCK_UN: return result_of(host_lock(fd, 0));
      case LOCK_SH: return result_of(host_lock(fd, 1));
      case LOCK_EX: return result_of(host_lock(fd, 2));
      default: return result_of(EINVAL);
    }
}

static int
duplicate(int fd, int least)
{
    int copy;

    if (result_of(host_duplicate(fd, least, &copy))) return -1;
    return copy;
}

int
dup(int fd)
{
    return duplicate(fd, 0);
}

int
dup2(int fd, int to)
{
    if (to < 0) return result_of(EBADF);
    return result_of(host_duplicate_to(fd, to)) ? -1 : to;
}

int
dup3(int fd, int to, int flags)
{
    return fd == to ? result_of(EINVAL) : dup2(fd, to);
}

/* Opens another file as a stream. wasi-libc's would move the descriptor, which the standard streams do not allow. */
FILE *
freopen(const char *path, const char *mode, FILE *stream)
{
    int plus = strchr(mode, '+') != NULL;
    int flags = plus ? O_RDWR : mode[0] == 'r' ? O_RDONLY : O_WRONLY;
    int fd, to = fileno(stream), failed;

    fflush(stream);
    if (mode[0] != 'r') flags |= O_CREAT | (mode[0] == 'a' ? O_APPEND : O_TRUNC);
    if (strchr(mode, 'x')) flags |= O_EXCL;
    if (!path) {
        errno = EINVAL;
        return NULL;
    }
    fd = open(path, flags, 0666);
    if (fd < 0) return NULL;
    failed = dup2(fd, to) < 0;
    close(fd);
    if (failed) return NULL;
    clearerr(stream);
    return stream;
}

int real_fcntl(int fd, int command, ...) __asm__("fcntl");

int
fcntl(int fd, int command, ...)
{
    va_list arguments;
    int argument;

    /* Pointers are as wide as int. */
    va_start(arguments, command);
    argument = va_arg(arguments, int);
    va_end(arguments);
    switch (command) {
      case F_GETLK:
      case F_SETLK:
      case F_SETLKW:
        return result_of(host_record_lock(fd, command, (struct flock *)argument));
      case F_DUPFD:
      case F_DUPFD_CLOEXEC:
        return argument < 0 ? result_of(EINVAL) : duplicate(fd, argument);
      default:
        return real_fcntl(fd, command, argument);
    }
}

/* -- working directory --------------------------------------------------------------------------------------------- */

int real_chdir(const char *path) __asm__("chdir");

/* Changes to the path without links and dots, as the kernel of Linux keeps it. */
int
chdir(const char *path)
{
    struct absolute absolute;
    char real[PATH_MAX];
    size_t length;

    if (make_absolute(path, &absolute)) return -1;
    int error = host_real_directory(absolute.path, absolute.length, real, sizeof real - 1, &length);
    if (result_of(error)) return -1;
    real[length] = 0;
    return real_chdir(real);
}

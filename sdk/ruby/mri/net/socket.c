/* The socket functions of the C library, over the host's functions. */
#include "net.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

int
dyno_status(int error)
{
    if (error == 0) return 0;
    errno = error;
    return -1;
}

int
dyno_encode(const struct sockaddr *name, socklen_t length, struct address *out)
{
    memset(out, 0, sizeof *out);
    if (!name || length < sizeof(sa_family_t)) return dyno_status(EINVAL);
    if (name->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)name;
        if (length < sizeof *in) return dyno_status(EINVAL);
        out->family = AF_INET;
        out->port = ntohs(in->sin_port);
        memcpy(out->bytes, &in->sin_addr, 4);
        return 0;
    }
    if (name->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)name;
        if (length < offsetof(struct sockaddr_in6, sin6_scope_id)) return dyno_status(EINVAL);
        out->family = AF_INET6;
        out->port = ntohs(in->sin6_port);
        memcpy(out->bytes, &in->sin6_addr, 16);
        return 0;
    }
    return dyno_status(EAFNOSUPPORT);
}

void
dyno_decode(const struct address *from, struct sockaddr *name, socklen_t *length)
{
    union {
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr any;
    } all;
    socklen_t size;

    if (!name || !length) return;
    memset(&all, 0, sizeof all);
    all.any.sa_family = from->family;
    switch (from->family) {
      case AF_INET:
        all.in.sin_port = htons(from->port);
        memcpy(&all.in.sin_addr, from->bytes, 4);
        size = sizeof all.in;
        break;
      case AF_INET6:
        all.in6.sin6_port = htons(from->port);
        memcpy(&all.in6.sin6_addr, from->bytes, 16);
        size = sizeof all.in6;
        break;
      case AF_UNIX:
        size = sizeof(sa_family_t);
        break;
      default:
        size = 0;
    }
    memcpy(name, &all, *length < size ? *length : size);
    *length = size;
}

/* Applies the flags of socket, accept4 and pipe2. The host closes all descriptors with the dyno, so CLOEXEC is met. */
static int
set_flags(int fd, int nonblocking)
{
    return nonblocking ? fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) : 0;
}

int
socket(int family, int type, int protocol)
{
    int fd, kind = type & 0xf;
    int expected = kind == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;

    if (kind == SOCK_RAW) return dyno_status(EPERM);
    if (protocol && protocol != expected) return dyno_status(EPROTONOSUPPORT);
    if (dyno_status(net_socket(family, kind, &fd))) return -1;
    set_flags(fd, type & SOCK_NONBLOCK);
    return fd;
}

int
socketpair(int family, int type, int protocol, int fds[2])
{
    if (family != AF_UNIX) return dyno_status(EOPNOTSUPP);
    if (dyno_status(net_pair(type & 0xf, fds))) return -1;
    set_flags(fds[0], type & SOCK_NONBLOCK);
    set_flags(fds[1], type & SOCK_NONBLOCK);
    return 0;
}

int
pipe2(int fds[2], int flags)
{
    if (dyno_status(net_pipe(fds))) return -1;
    if (flags & O_NONBLOCK) {
        fcntl(fds[0], F_SETFL, O_NONBLOCK);
        fcntl(fds[1], F_SETFL, O_NONBLOCK);
    }
    return 0;
}

int pipe(int fds[2]) { return pipe2(fds, 0); }

int
bind(int fd, const struct sockaddr *name, socklen_t length)
{
    struct address address;
    if (dyno_encode(name, length, &address)) return -1;
    return dyno_status(net_bind(fd, &address));
}

int listen(int fd, int backlog) { return dyno_status(net_listen(fd, backlog)); }

int
accept4(int fd, struct sockaddr *name, socklen_t *length, int flags)
{
    struct address from;
    int new_fd;
    if (dyno_status(net_accept(fd, &new_fd, &from))) return -1;
    dyno_decode(&from, name, length);
    set_flags(new_fd, flags & SOCK_NONBLOCK);
    return new_fd;
}

int accept(int fd, struct sockaddr *name, socklen_t *length) { return accept4(fd, name, length, 0); }

int
connect(int fd, const struct sockaddr *name, socklen_t length)
{
    struct address address;
    if (name && name->sa_family == AF_UNSPEC) return dyno_status(EAFNOSUPPORT);
    if (dyno_encode(name, length, &address)) return -1;
    return dyno_status(net_connect(fd, &address));
}

int shutdown(int fd, int how) { return dyno_status(net_shutdown(fd, how)); }

static int
name_of(int fd, int peer, struct sockaddr *name, socklen_t *length)
{
    struct address address;
    if (dyno_status(net_name(fd, peer, &address))) return -1;
    dyno_decode(&address, name, length);
    return 0;
}

int getsockname(int fd, struct sockaddr *name, socklen_t *length) { return name_of(fd, 0, name, length); }
int getpeername(int fd, struct sockaddr *name, socklen_t *length) { return name_of(fd, 1, name, length); }

/* An option's value crosses as 64 bits: an integer, or two of 32 bits. Times are two numbers of 32 bits where a program
 * packs them itself, as gems do, and a struct timeval otherwise. */
static int
is_time(int level, int name)
{
    return level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO);
}

int
getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
    int64_t number;
    size_t size = sizeof(int32_t);

    if (!value || !length) return dyno_status(EFAULT);
    if (dyno_status(net_get_option(fd, level, name, &number))) return -1;
    if (is_time(level, name) || (level == SOL_SOCKET && name == SO_LINGER)) size = sizeof number;
    if (*length < size) size = *length;
    memcpy(value, &number, size);
    *length = size;
    return 0;
}

int
setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    int64_t number = 0;

    if (!value) return dyno_status(EFAULT);
    if (is_time(level, name) && length == sizeof(struct timeval) && length > sizeof number) {
        struct timeval time;
        memcpy(&time, value, sizeof time);
        number = ((int64_t)(uint32_t)time.tv_usec << 32) | (uint32_t)time.tv_sec;
    }
    else {
        memcpy(&number, value, length < sizeof number ? length : sizeof number);
        if (length == sizeof(int32_t)) number = (int32_t)number;
    }
    return dyno_status(net_set_option(fd, level, name, number));
}

ssize_t
recvfrom(int fd, void *buffer, size_t size, int flags, struct sockaddr *name, socklen_t *length)
{
    struct address from;
    size_t received;
    if (dyno_status(net_receive(fd, buffer, size, flags, &received, &from))) return -1;
    if (name && length) dyno_decode(&from, name, length);
    return received;
}

ssize_t recv(int fd, void *buffer, size_t size, int flags) { return recvfrom(fd, buffer, size, flags, NULL, NULL); }

ssize_t
sendto(int fd, const void *bytes, size_t size, int flags, const struct sockaddr *name, socklen_t length)
{
    struct address to;
    size_t sent;
    if (name && dyno_encode(name, length, &to)) return -1;
    if (dyno_status(net_send(fd, bytes, size, flags, &sent, name ? &to : NULL))) return -1;
    return sent;
}

ssize_t send(int fd, const void *bytes, size_t size, int flags) { return sendto(fd, bytes, size, flags, NULL, 0); }

static int
total_size(const struct msghdr *message, size_t *total)
{
    *total = 0;
    for (int i = 0; i < message->msg_iovlen; i++) {
        if (__builtin_add_overflow(*total, message->msg_iov[i].iov_len, total) || *total > SSIZE_MAX) {
            return dyno_status(EINVAL);
        }
    }
    return 0;
}

/* A message of several parts goes through one buffer, because a datagram must not be divided. */
ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
    size_t size;
    if (message->msg_controllen) return dyno_status(EOPNOTSUPP);
    if (message->msg_iovlen == 1) {
        const struct iovec *part = message->msg_iov;
        return sendto(fd, part->iov_base, part->iov_len, flags, message->msg_name, message->msg_namelen);
    }
    if (total_size(message, &size)) return -1;
    char *bytes = malloc(size ? size : 1), *end = bytes;
    if (!bytes) return dyno_status(ENOMEM);
    for (int i = 0; i < message->msg_iovlen; i++) {
        memcpy(end, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
        end += message->msg_iov[i].iov_len;
    }
    ssize_t sent = sendto(fd, bytes, size, flags, message->msg_name, message->msg_namelen);
    int error = errno;
    free(bytes);
    errno = error;
    return sent;
}

ssize_t
recvmsg(int fd, struct msghdr *message, int flags)
{
    socklen_t *length = message->msg_name ? &message->msg_namelen : NULL;
    size_t size;

    message->msg_controllen = 0;
    message->msg_flags = 0;
    if (message->msg_iovlen == 1) {
        struct iovec *part = message->msg_iov;
        return recvfrom(fd, part->iov_base, part->iov_len, flags, message->msg_name, length);
    }
    if (total_size(message, &size)) return -1;
    char *bytes = malloc(size ? size : 1), *from = bytes;
    if (!bytes) return dyno_status(ENOMEM);
    ssize_t received = recvfrom(fd, bytes, size, flags, message->msg_name, length);
    int error = errno;
    for (int i = 0; received > from - bytes; i++) {
        size_t left = received - (from - bytes), part = message->msg_iov[i].iov_len;
        if (part > left) part = left;
        memcpy(message->msg_iov[i].iov_base, from, part);
        from += part;
    }
    free(bytes);
    errno = error;
    return received;
}

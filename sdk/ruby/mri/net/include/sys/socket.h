/* Sockets, with the numbers and structures of Linux, which gems and libraries expect.
 *
 * wasi-libc declares functions of the same names with other numbers and links them, so each declaration here names the
 * function of this library in the object file. */
#ifndef _SYS_SOCKET_H
#define _SYS_SOCKET_H

#define __NEED_size_t
#define __NEED_ssize_t
#define __NEED_struct_iovec
#include <features.h>
#include <bits/alltypes.h>
#include <stdint.h>
#include <sys/uio.h>

/* Keeps wasi-libc's declarations out of files that include its own headers too. */
#define __wasilibc___header_sys_socket_h
#define __wasilibc___struct_msghdr_h
#define __wasilibc___struct_sockaddr_h
#define __wasilibc___struct_sockaddr_in_h
#define __wasilibc___struct_sockaddr_in6_h
#define __wasilibc___struct_sockaddr_storage_h
#define __wasilibc___struct_sockaddr_un_h
#include <__typedef_sa_family_t.h>
#include <__typedef_socklen_t.h>

#define AF_UNSPEC 0
#define AF_UNIX 1
#define AF_LOCAL AF_UNIX
#define AF_INET 2
#define AF_INET6 10
#define PF_UNSPEC AF_UNSPEC
#define PF_UNIX AF_UNIX
#define PF_LOCAL AF_LOCAL
#define PF_INET AF_INET
#define PF_INET6 AF_INET6

#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define SOCK_SEQPACKET 5
#define SOCK_NONBLOCK 04000
#define SOCK_CLOEXEC 02000000
#define SOMAXCONN 128

#define SHUT_RD 0
#define SHUT_WR 1
#define SHUT_RDWR 2

#define SOL_SOCKET 1
#define SO_DEBUG 1
#define SO_REUSEADDR 2
#define SO_TYPE 3
#define SO_ERROR 4
#define SO_DONTROUTE 5
#define SO_BROADCAST 6
#define SO_SNDBUF 7
#define SO_RCVBUF 8
#define SO_KEEPALIVE 9
#define SO_OOBINLINE 10
#define SO_LINGER 13
#define SO_REUSEPORT 15
#define SO_RCVTIMEO 20
#define SO_SNDTIMEO 21
#define SO_ACCEPTCONN 30

#define MSG_OOB 0x1
#define MSG_PEEK 0x2
#define MSG_DONTROUTE 0x4
#define MSG_CTRUNC 0x8
#define MSG_TRUNC 0x20
#define MSG_DONTWAIT 0x40
#define MSG_EOR 0x80
#define MSG_WAITALL 0x100
#define MSG_NOSIGNAL 0x4000

struct sockaddr {
    sa_family_t sa_family;
    char sa_data[14];
};

struct sockaddr_storage {
    sa_family_t ss_family;
    char __padding[128 - sizeof(sa_family_t) - sizeof(unsigned long)];
    unsigned long __alignment;
};

struct linger {
    int l_onoff;
    int l_linger;
};

struct msghdr {
    void *msg_name;
    socklen_t msg_namelen;
    struct iovec *msg_iov;
    int msg_iovlen;
    void *msg_control;
    socklen_t msg_controllen;
    int msg_flags;
};

/* No socket carries control messages; MRI needs the structure and the macros to compile. */
struct cmsghdr {
    socklen_t cmsg_len;
    int cmsg_level;
    int cmsg_type;
};
#define SCM_RIGHTS 1
#define CMSG_ALIGN(length) (((length) + sizeof(size_t) - 1) / sizeof(size_t) * sizeof(size_t))
#define CMSG_LEN(length) (CMSG_ALIGN(sizeof(struct cmsghdr)) + (length))
#define CMSG_SPACE(length) (CMSG_ALIGN(sizeof(struct cmsghdr)) + CMSG_ALIGN(length))
#define CMSG_DATA(control) ((unsigned char *)((struct cmsghdr *)(control) + 1))
#define CMSG_FIRSTHDR(message) \
    ((size_t)(message)->msg_controllen < sizeof(struct cmsghdr) ? (struct cmsghdr *)0 : (struct cmsghdr *)(message)->msg_control)
#define CMSG_NXTHDR(message, control) ((struct cmsghdr *)0)

#ifdef __cplusplus
extern "C" {
#endif
int socket(int, int, int) __asm__("dyno_socket");
int socketpair(int, int, int, int[2]) __asm__("dyno_socketpair");
int bind(int, const struct sockaddr *, socklen_t) __asm__("dyno_bind");
int listen(int, int) __asm__("dyno_listen");
int accept(int, struct sockaddr *__restrict, socklen_t *__restrict) __asm__("dyno_accept");
int accept4(int, struct sockaddr *__restrict, socklen_t *__restrict, int) __asm__("dyno_accept4");
int connect(int, const struct sockaddr *, socklen_t) __asm__("dyno_connect");
int shutdown(int, int) __asm__("dyno_shutdown");
int getsockname(int, struct sockaddr *__restrict, socklen_t *__restrict) __asm__("dyno_getsockname");
int getpeername(int, struct sockaddr *__restrict, socklen_t *__restrict) __asm__("dyno_getpeername");
int getsockopt(int, int, int, void *__restrict, socklen_t *__restrict) __asm__("dyno_getsockopt");
int setsockopt(int, int, int, const void *, socklen_t) __asm__("dyno_setsockopt");
ssize_t recv(int, void *, size_t, int) __asm__("dyno_recv");
ssize_t recvfrom(int, void *__restrict, size_t, int, struct sockaddr *__restrict, socklen_t *__restrict) __asm__("dyno_recvfrom");
ssize_t recvmsg(int, struct msghdr *, int) __asm__("dyno_recvmsg");
ssize_t send(int, const void *, size_t, int) __asm__("dyno_send");
ssize_t sendto(int, const void *, size_t, int, const struct sockaddr *, socklen_t) __asm__("dyno_sendto");
ssize_t sendmsg(int, const struct msghdr *, int) __asm__("dyno_sendmsg");
#ifdef __cplusplus
}
#endif
#endif

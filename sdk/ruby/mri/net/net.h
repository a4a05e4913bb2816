/* The host's functions for sockets (module `net`), and helpers that the files of this library share.
 *
 * Each function returns an errno, 0 for success. A socket is a descriptor like any other: WASI's functions for reading,
 * writing, polling, closing and for flags work on it. An address crosses as 20 bytes: the family (Linux's number), the port
 * in the processor's order, and 16 bytes of address. */
#ifndef DYNO_NET_H
#define DYNO_NET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct address {
    uint16_t family;
    uint16_t port;
    uint8_t bytes[16];
};

#define IMPORT(name) __attribute__((import_module("net"), import_name(#name)))
IMPORT(socket) int net_socket(int family, int type, int *fd);
IMPORT(connect) int net_connect(int fd, const struct address *address);
IMPORT(bind) int net_bind(int fd, const struct address *address);
IMPORT(listen) int net_listen(int fd, int backlog);
IMPORT(accept) int net_accept(int fd, int *new_fd, struct address *from);
IMPORT(name) int net_name(int fd, int peer, struct address *address);
IMPORT(receive) int net_receive(int fd, void *buffer, size_t size, int flags, size_t *received, struct address *from);
IMPORT(send) int net_send(int fd, const void *bytes, size_t size, int flags, size_t *sent, const struct address *to);
IMPORT(shutdown) int net_shutdown(int fd, int how);
IMPORT(get_option) int net_get_option(int fd, int level, int name, int64_t *value);
IMPORT(set_option) int net_set_option(int fd, int level, int name, int64_t value);
IMPORT(pair) int net_pair(int type, int *fds);
IMPORT(pipe) int net_pipe(int *fds);
/* The descriptor can be read when the name is resolved: one address after the other, then the end. */
IMPORT(resolve) int net_resolve(const char *name, size_t length, int *fd);
#undef IMPORT

/* Returns 0 for success, or sets errno and returns -1. */
int dyno_status(int error);
/* Converts addresses. */
int dyno_encode(const struct sockaddr *name, socklen_t length, struct address *out);
void dyno_decode(const struct address *from, struct sockaddr *name, socklen_t *length);

/* Waits until a descriptor can be read, so that other threads of the program run meanwhile. Returns a state that is not 0
 * if an exception ends the wait; the caller releases what it holds and passes the state to dyno_resume. NULL where the
 * program has no threads: reading waits then. */
extern int (*dyno_wait_readable)(int fd);
extern void (*dyno_resume)(int state);
#endif

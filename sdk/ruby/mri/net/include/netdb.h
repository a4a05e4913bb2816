/* Names of hosts, services and protocols. */
#ifndef _NETDB_H
#define _NETDB_H

#include <netinet/in.h>

#define AI_PASSIVE 0x1
#define AI_CANONNAME 0x2
#define AI_NUMERICHOST 0x4
#define AI_V4MAPPED 0x8
#define AI_ALL 0x10
#define AI_ADDRCONFIG 0x20
#define AI_NUMERICSERV 0x400

#define NI_NUMERICHOST 0x1
#define NI_NUMERICSERV 0x2
#define NI_NOFQDN 0x4
#define NI_NAMEREQD 0x8
#define NI_DGRAM 0x10
#define NI_MAXHOST 1025
#define NI_MAXSERV 32

#define EAI_BADFLAGS -1
#define EAI_NONAME -2
#define EAI_AGAIN -3
#define EAI_FAIL -4
#define EAI_FAMILY -6
#define EAI_SOCKTYPE -7
#define EAI_SERVICE -8
#define EAI_MEMORY -10
#define EAI_SYSTEM -11
#define EAI_OVERFLOW -12

#define HOST_NOT_FOUND 1
#define TRY_AGAIN 2
#define NO_RECOVERY 3
#define NO_DATA 4

struct addrinfo {
    int ai_flags;
    int ai_family;
    int ai_socktype;
    int ai_protocol;
    socklen_t ai_addrlen;
    struct sockaddr *ai_addr;
    char *ai_canonname;
    struct addrinfo *ai_next;
};

struct hostent {
    char *h_name;
    char **h_aliases;
    int h_addrtype;
    int h_length;
    char **h_addr_list;
};
#define h_addr h_addr_list[0]

struct servent {
    char *s_name;
    char **s_aliases;
    int s_port;
    char *s_proto;
};

struct protoent {
    char *p_name;
    char **p_aliases;
    int p_proto;
};

#ifdef __cplusplus
extern "C" {
#endif
int getaddrinfo(const char *__restrict, const char *__restrict, const struct addrinfo *__restrict, struct addrinfo **__restrict) __asm__("dyno_getaddrinfo");
void freeaddrinfo(struct addrinfo *) __asm__("dyno_freeaddrinfo");
int getnameinfo(const struct sockaddr *__restrict, socklen_t, char *__restrict, socklen_t, char *__restrict, socklen_t, int) __asm__("dyno_getnameinfo");
const char *gai_strerror(int) __asm__("dyno_gai_strerror");
struct servent *getservbyname(const char *, const char *) __asm__("dyno_getservbyname");
struct servent *getservbyport(int, const char *) __asm__("dyno_getservbyport");
struct protoent *getprotobyname(const char *) __asm__("dyno_getprotobyname");
struct hostent *gethostbyname(const char *) __asm__("dyno_gethostbyname");
struct hostent *gethostbyaddr(const void *, socklen_t, int) __asm__("dyno_gethostbyaddr");
const char *hstrerror(int) __asm__("dyno_hstrerror");
extern int h_errno __asm__("dyno_h_errno");
#ifdef __cplusplus
}
#endif
#endif

/* Addresses as text. */
#ifndef _ARPA_INET_H
#define _ARPA_INET_H

#include <netinet/in.h>

#ifdef __cplusplus
extern "C" {
#endif
int inet_pton(int, const char *__restrict, void *__restrict) __asm__("dyno_inet_pton");
const char *inet_ntop(int, const void *__restrict, char *__restrict, socklen_t) __asm__("dyno_inet_ntop");
int inet_aton(const char *, struct in_addr *) __asm__("dyno_inet_aton");
in_addr_t inet_addr(const char *) __asm__("dyno_inet_addr");
char *inet_ntoa(struct in_addr) __asm__("dyno_inet_ntoa");
#ifdef __cplusplus
}
#endif
#endif

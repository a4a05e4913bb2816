/* Names and flags of network interfaces. */
#ifndef _NET_IF_H
#define _NET_IF_H

#define IF_NAMESIZE 16
#define IFNAMSIZ IF_NAMESIZE

#define IFF_UP 0x1
#define IFF_BROADCAST 0x2
#define IFF_LOOPBACK 0x8
#define IFF_POINTOPOINT 0x10
#define IFF_RUNNING 0x40
#define IFF_MULTICAST 0x1000

#ifdef __cplusplus
extern "C" {
#endif
unsigned if_nametoindex(const char *) __asm__("dyno_if_nametoindex");
char *if_indextoname(unsigned, char *) __asm__("dyno_if_indextoname");
#ifdef __cplusplus
}
#endif
#endif

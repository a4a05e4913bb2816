/* Addresses of network interfaces. */
#ifndef _IFADDRS_H
#define _IFADDRS_H

#include <netinet/in.h>

struct ifaddrs {
    struct ifaddrs *ifa_next;
    char *ifa_name;
    unsigned ifa_flags;
    struct sockaddr *ifa_addr;
    struct sockaddr *ifa_netmask;
    union {
        struct sockaddr *ifu_broadaddr;
        struct sockaddr *ifu_dstaddr;
    } ifa_ifu;
    void *ifa_data;
};
#define ifa_broadaddr ifa_ifu.ifu_broadaddr
#define ifa_dstaddr ifa_ifu.ifu_dstaddr

#ifdef __cplusplus
extern "C" {
#endif
int getifaddrs(struct ifaddrs **) __asm__("dyno_getifaddrs");
void freeifaddrs(struct ifaddrs *) __asm__("dyno_freeifaddrs");
#ifdef __cplusplus
}
#endif
#endif

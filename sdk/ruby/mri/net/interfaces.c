/* The network interfaces of a dyno: its loopback, and one that stands for the host's connections. */
#include "net.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned flags;
    struct address address;
    int prefix;
} interfaces[] = {
    { "lo", IFF_UP | IFF_RUNNING | IFF_LOOPBACK, { AF_INET, 0, { 127, 0, 0, 1 } }, 8 },
    { "lo", IFF_UP | IFF_RUNNING | IFF_LOOPBACK, { AF_INET6, 0, { [15] = 1 } }, 128 },
    { "eth0", IFF_UP | IFF_RUNNING, { AF_INET, 0, { 192, 0, 0, 2 } }, 32 },
};
#define INTERFACES (sizeof interfaces / sizeof *interfaces)
static const char *const names[] = { "lo", "eth0" };

struct entry {
    struct ifaddrs interface;
    char name[IF_NAMESIZE];
    struct sockaddr_in6 address, mask;
};

int
getifaddrs(struct ifaddrs **result)
{
    struct ifaddrs *first = NULL, **last = &first;
    for (size_t i = 0; i < INTERFACES; i++) {
        struct entry *entry = calloc(1, sizeof *entry);
        struct address mask = { interfaces[i].address.family };
        socklen_t length = sizeof entry->address;
        if (!entry) {
            freeifaddrs(first);
            return dyno_status(ENOMEM);
        }
        for (int bit = 0; bit < interfaces[i].prefix; bit++) mask.bytes[bit / 8] |= 0x80 >> bit % 8;
        strcpy(entry->name, interfaces[i].name);
        dyno_decode(&interfaces[i].address, (struct sockaddr *)&entry->address, &length);
        length = sizeof entry->mask;
        dyno_decode(&mask, (struct sockaddr *)&entry->mask, &length);
        entry->interface.ifa_name = entry->name;
        entry->interface.ifa_flags = interfaces[i].flags;
        entry->interface.ifa_addr = (struct sockaddr *)&entry->address;
        entry->interface.ifa_netmask = (struct sockaddr *)&entry->mask;
        *last = &entry->interface;
        last = &entry->interface.ifa_next;
    }
    *result = first;
    return 0;
}

void
freeifaddrs(struct ifaddrs *list)
{
    while (list) {
        struct ifaddrs *next = list->ifa_next;
        free(list);
        list = next;
    }
}

unsigned
if_nametoindex(const char *name)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], name) == 0) return i + 1;
    }
    dyno_status(ENODEV);
    return 0;
}

char *
if_indextoname(unsigned index, char *name)
{
    if (index == 0 || index > sizeof names / sizeof *names) {
        dyno_status(ENXIO);
        return NULL;
    }
    return strcpy(name, names[index - 1]);
}

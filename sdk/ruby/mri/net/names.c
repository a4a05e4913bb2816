/* Names of hosts, services and protocols. The host resolves names of hosts; the other names are in tables. */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Addresses of one name that are used. */
#define MOST_ADDRESSES 16

int (*dyno_wait_readable)(int fd);
void (*dyno_resume)(int state);

const struct in6_addr in6addr_any = IN6ADDR_ANY_INIT;
const struct in6_addr in6addr_loopback = IN6ADDR_LOOPBACK_INIT;

static const struct { const char *name; int port; } services[] = {
    { "echo", 7 }, { "ftp", 21 }, { "ssh", 22 }, { "telnet", 23 }, { "smtp", 25 }, { "domain", 53 }, { "tftp", 69 },
    { "http", 80 }, { "kerberos", 88 }, { "pop3", 110 }, { "ntp", 123 }, { "imap", 143 }, { "imap2", 143 },
    { "snmp", 161 }, { "ldap", 389 }, { "https", 443 }, { "submissions", 465 }, { "syslog", 514 }, { "submission", 587 },
    { "ldaps", 636 }, { "domain-s", 853 }, { "ftps", 990 }, { "imaps", 993 }, { "pop3s", 995 }, { "mysql", 3306 },
    { "postgresql", 5432 }, { "amqps", 5671 }, { "amqp", 5672 }, { "redis", 6379 }, { "http-alt", 8080 },
};
#define SERVICES (sizeof services / sizeof *services)

static char *no_aliases[] = { NULL };

struct servent *
getservbyname(const char *name, const char *protocol)
{
    static struct servent found;
    for (size_t i = 0; i < SERVICES; i++) {
        if (strcmp(services[i].name, name) == 0) {
            found = (struct servent){ (char *)services[i].name, no_aliases, htons(services[i].port),
                                      (char *)(protocol && strcmp(protocol, "udp") == 0 ? "udp" : "tcp") };
            return &found;
        }
    }
    return NULL;
}

struct servent *
getservbyport(int port, const char *protocol)
{
    for (size_t i = 0; i < SERVICES; i++) {
        if (htons(services[i].port) == (uint16_t)port) return getservbyname(services[i].name, protocol);
    }
    return NULL;
}

struct protoent *
getprotobyname(const char *name)
{
    static const struct { const char *name; int number; } protocols[] = {
        { "ip", IPPROTO_IP }, { "icmp", IPPROTO_ICMP }, { "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP },
        { "ipv6", IPPROTO_IPV6 }, { "ipv6-icmp", IPPROTO_ICMPV6 },
    };
    static struct protoent found;
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++) {
        if (strcmp(protocols[i].name, name) == 0) {
            found = (struct protoent){ (char *)protocols[i].name, no_aliases, protocols[i].number };
            return &found;
        }
    }
    return NULL;
}

/* Asks the host for the addresses of a name. Returns an EAI code. */
static int
resolve(const char *host, struct address *found, size_t *count)
{
    int fd, state = 0, error;
    ssize_t size;

    if ((error = net_resolve(host, strlen(host), &fd)) == 0) {
        if (dyno_wait_readable) state = dyno_wait_readable(fd);
        size = state ? 0 : read(fd, found, sizeof *found * MOST_ADDRESSES);
        error = size < 0 ? errno : 0;
        close(fd);
        if (state && dyno_resume) dyno_resume(state);
        if (error == 0) {
            *count = size / sizeof *found;
            return *count ? 0 : EAI_NONAME;
        }
    }
    switch (error) {
      case ENOENT:
      case EINVAL:
        return EAI_NONAME;
      case ETIMEDOUT:
      case EAGAIN:
        return EAI_AGAIN;
      default:
        errno = error;
        return EAI_SYSTEM;
    }
}

static int
port_of(const char *service, int flags, int *port)
{
    char *end;
    long number = strtol(service, &end, 10);
    if (*service && !*end) {
        if (number < 0 || number > 65535) return EAI_SERVICE;
        *port = number;
        return 0;
    }
    struct servent *known = (flags & AI_NUMERICSERV) ? NULL : getservbyname(service, NULL);
    if (!known) return (flags & AI_NUMERICSERV) ? EAI_NONAME : EAI_SERVICE;
    *port = ntohs(known->s_port);
    return 0;
}

/* Finds the addresses of a host, which may be an address, or none for this one. */
static int
addresses_of(const char *host, int family, int flags, struct address *found, size_t *count)
{
    struct in_addr address;
    *count = 0;
    if (!host) {
        if (family != AF_INET) {
            found[*count].family = AF_INET6;
            if (!(flags & AI_PASSIVE)) found[*count].bytes[15] = 1;
            ++*count;
        }
        if (family != AF_INET6) {
            found[*count].family = AF_INET;
            if (!(flags & AI_PASSIVE)) memcpy(found[*count].bytes, "\177\0\0\1", 4);
            ++*count;
        }
        return 0;
    }
    if (inet_aton(host, &address)) {
        if (family == AF_INET6 && !(flags & AI_V4MAPPED)) return EAI_NONAME;
        found->family = AF_INET;
        memcpy(found->bytes, &address, 4);
        *count = 1;
        return 0;
    }
    if (inet_pton(AF_INET6, host, found->bytes) == 1) {
        if (family == AF_INET) return EAI_NONAME;
        found->family = AF_INET6;
        *count = 1;
        return 0;
    }
    return (flags & AI_NUMERICHOST) ? EAI_NONAME : resolve(host, found, count);
}

struct entry {
    struct addrinfo info;
    struct sockaddr_storage address;
};

int
getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
    static const struct { int type, protocol; } kinds[] = { { SOCK_STREAM, IPPROTO_TCP }, { SOCK_DGRAM, IPPROTO_UDP } };
    int family = hints ? hints->ai_family : AF_UNSPEC, flags = hints ? hints->ai_flags : 0;
    int type = hints ? hints->ai_socktype : 0, protocol = hints ? hints->ai_protocol : 0;
    struct address found[MOST_ADDRESSES] = { { 0 } };
    struct addrinfo *first = NULL, **last = &first;
    size_t count;
    int port = 0, error;

    if (!host && !service) return EAI_NONAME;
    if (family != AF_UNSPEC && family != AF_INET && family != AF_INET6) return EAI_FAMILY;
    if (type && type != SOCK_STREAM && type != SOCK_DGRAM) return EAI_SOCKTYPE;
    if (service && (error = port_of(service, flags, &port))) return error;
    if ((error = addresses_of(host, family, flags, found, &count))) return error;
    for (size_t i = 0; i < count; i++) {
        if (family == AF_INET6 && found[i].family == AF_INET && (flags & AI_V4MAPPED)) {
            memmove(found[i].bytes + 12, found[i].bytes, 4);
            memset(found[i].bytes, 0, 10);
            memset(found[i].bytes + 10, 0xff, 2);
            found[i].family = AF_INET6;
        }
        if (family != AF_UNSPEC && family != found[i].family) continue;
        for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
            if (type && type != kinds[kind].type) continue;
            if (protocol && protocol != kinds[kind].protocol) continue;
            struct entry *entry = calloc(1, sizeof *entry);
            if (!entry) {
                freeaddrinfo(first);
                return EAI_MEMORY;
            }
            socklen_t length = sizeof entry->address;
            found[i].port = port;
            dyno_decode(&found[i], (struct sockaddr *)&entry->address, &length);
            entry->info = (struct addrinfo){ flags, found[i].family, kinds[kind].type, kinds[kind].protocol, length,
                                             (struct sockaddr *)&entry->address, NULL, NULL };
            if ((flags & AI_CANONNAME) && !first && host && !(entry->info.ai_canonname = strdup(host))) {
                free(entry);
                return EAI_MEMORY;
            }
            *last = &entry->info;
            last = &entry->info.ai_next;
        }
    }
    if (!first) return EAI_NONAME;
    *result = first;
    return 0;
}

void
freeaddrinfo(struct addrinfo *list)
{
    while (list) {
        struct addrinfo *next = list->ai_next;
        free(list->ai_canonname);
        free(list);
        list = next;
    }
}

/* Names of addresses are not looked up: the name of an address is the address, but for the dyno's own. */
int
getnameinfo(const struct sockaddr *name, socklen_t length, char *host, socklen_t host_size, char *service,
            socklen_t service_size, int flags)
{
    struct address address;
    if (dyno_encode(name, length, &address)) return EAI_FAMILY;
    if (host && host_size) {
        static const uint8_t loopback6[16] = { [15] = 1 };
        int is_loopback = address.family == AF_INET ? address.bytes[0] == 127 : !memcmp(address.bytes, loopback6, 16);
        if (is_loopback && !(flags & NI_NUMERICHOST)) {
            if (snprintf(host, host_size, "localhost") >= (int)host_size) return EAI_OVERFLOW;
        }
        else if (flags & NI_NAMEREQD) {
            return EAI_NONAME;
        }
        else if (!inet_ntop(address.family, address.bytes, host, host_size)) {
            return EAI_OVERFLOW;
        }
    }
    if (service && service_size) {
        const char *protocol = (flags & NI_DGRAM) ? "udp" : "tcp";
        struct servent *known = (flags & NI_NUMERICSERV) ? NULL : getservbyport(htons(address.port), protocol);
        int written = known ? snprintf(service, service_size, "%s", known->s_name)
                            : snprintf(service, service_size, "%d", address.port);
        if (written >= (int)service_size) return EAI_OVERFLOW;
    }
    return 0;
}

const char *
gai_strerror(int error)
{
    switch (error) {
      case EAI_BADFLAGS: return "Bad value for ai_flags";
      case EAI_NONAME: return "Name or service not known";
      case EAI_AGAIN: return "Temporary failure in name resolution";
      case EAI_FAIL: return "Non-recoverable failure in name resolution";
      case EAI_FAMILY: return "ai_family not supported";
      case EAI_SOCKTYPE: return "ai_socktype not supported";
      case EAI_SERVICE: return "Servname not supported for ai_socktype";
      case EAI_MEMORY: return "Memory allocation failure";
      case EAI_SYSTEM: return "System error";
      case EAI_OVERFLOW: return "Argument buffer overflow";
      default: return "Unknown error";
    }
}

int h_errno;

const char *
hstrerror(int error)
{
    switch (error) {
      case HOST_NOT_FOUND: return "Unknown host";
      case TRY_AGAIN: return "Host name lookup failure";
      case NO_RECOVERY: return "Unknown server error";
      case NO_DATA: return "No address associated with name";
      default: return "Unknown resolver error";
    }
}

struct hostent *
gethostbyname(const char *name)
{
    static char *list[MOST_ADDRESSES + 1], kept[NI_MAXHOST];
    static struct in_addr addresses[MOST_ADDRESSES];
    static struct hostent entry;
    struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *found;
    int count = 0, error = getaddrinfo(name, NULL, &hints, &found);

    if (error) {
        h_errno = error == EAI_AGAIN ? TRY_AGAIN : HOST_NOT_FOUND;
        return NULL;
    }
    for (struct addrinfo *at = found; at && count < MOST_ADDRESSES; at = at->ai_next, count++) {
        addresses[count] = ((struct sockaddr_in *)at->ai_addr)->sin_addr;
        list[count] = (char *)&addresses[count];
    }
    list[count] = NULL;
    freeaddrinfo(found);
    snprintf(kept, sizeof kept, "%s", name);
    entry = (struct hostent){ kept, no_aliases, AF_INET, sizeof(struct in_addr), list };
    return &entry;
}

struct hostent *
gethostbyaddr(const void *address, socklen_t length, int family)
{
    h_errno = HOST_NOT_FOUND;
    return NULL;
}

in_addr_t
inet_addr(const char *text)
{
    struct in_addr address;
    return inet_aton(text, &address) ? address.s_addr : INADDR_NONE;
}

char *
inet_ntoa(struct in_addr address)
{
    static char text[INET_ADDRSTRLEN];
    return (char *)inet_ntop(AF_INET, &address, text, sizeof text);
}

int
gethostname(char *name, size_t size)
{
    const char *dyno = getenv("DYNO");
    if (!dyno) dyno = "dyno";
    if (strlen(dyno) >= size) return dyno_status(ENAMETOOLONG);
    strcpy(name, dyno);
    return 0;
}

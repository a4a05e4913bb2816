/* The dyno ABI: replace serve() by a call of the language. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT(name) __attribute__((export_name(#name))) name

/* Descriptor of requests (SCGI) and responses (CGI). */
#define EXCHANGE 1000
/* Result of a failed call; the log has the reason. */
#define FAILED 70

enum served { SERVED, NO_REQUEST, BROKEN };

static char *path_of(char *pairs, char *end)
{
    while (pairs < end) {
        char *value = pairs + strlen(pairs) + 1;
        if (strcmp(pairs, "PATH_INFO") == 0) return value;
        pairs = value + strlen(value) + 1;
    }
    return "";
}

/* Reads a head, `LENGTH:NAME\0VALUE\0...,`, and writes a response. A body may follow the head; this one is not read. */
static enum served serve(void)
{
    static char head[1 << 17];
    size_t have = 0, need = 0;
    char *pairs = head;

    do {
        ssize_t more = read(EXCHANGE, head + have, sizeof head - have);
        if (more < 0 && errno == EINTR) continue;
        if (more <= 0) return have ? BROKEN : NO_REQUEST;
        have += more;
        char *colon = memchr(head, ':', have < 8 ? have : 8);
        if (colon) {
            need = colon - head + strtoul(head, NULL, 10) + 2;
            pairs = colon + 1;
        }
    } while (have < need || need == 0);
    if (need > sizeof head) return BROKEN;
    return dprintf(EXCHANGE, "Status: 200\nContent-Type: text/plain\n\nHello from TITLE: %s\n",
                   path_of(pairs, head + need - 1)) < 0 ? BROKEN : SERVED;
}

/* Loads the app in /app. Sample requests follow, in two rounds; the host saves the memory afterwards. */
int EXPORT(dyno_boot)(void)
{
    for (int round = 0; round < 2; round++) {
        enum served served;
        while ((served = serve()) == SERVED) ;
        if (served == BROKEN) return FAILED;
    }
    return 0;
}

/* A new dyno: its process number, a NUL, and its environment. Seed random number generators here. */
int EXPORT(dyno_restore)(void)
{
    char record[4096];
    ssize_t length;

    while ((length = read(EXCHANGE, record, sizeof record)) > 0) ;
    return length < 0 ? FAILED : 0;
}

int EXPORT(dyno_handle)(void)
{
    return serve() == SERVED ? 0 : FAILED;
}

/* `corundum run`: the command is in /proc/self/cmdline. */
int EXPORT(dyno_run)(void)
{
    fputs("this language runs no commands yet\n", stderr);
    return 127;
}

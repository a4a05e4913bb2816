/*
 * The C library of a dyno: random numbers, temporary files, streams, the environment and the command line.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dyno.h"

/* Maximum size of the environment and of a command line. */
#define RECORD_LIMIT (1 << 21)

unsigned int
dyno_seed(void)
{
    unsigned int seed = 0;

    getentropy(&seed, sizeof seed);
    return seed;
}

int
dyno_tmpnam(char *name)
{
    static unsigned int number;

    for (int attempt = 0; attempt < 100; attempt++) {
        snprintf(name, 32, "/tmp/lua_%08x", dyno_seed() ^ ++number);
        int file = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);
        if (file >= 0) {
            close(file);
            return 0;
        }
    }
    return 1;
}

FILE *
tmpfile(void)
{
    char name[32];

    /* The name stays: WASI removes no open file. /tmp goes with the dyno. */
    return dyno_tmpnam(name) ? NULL : fopen(name, "w+");
}

ssize_t
read_some(int descriptor, char *buffer, size_t size)
{
    ssize_t length;

    do length = read(descriptor, buffer, size);
    while (length < 0 && errno == EINTR);
    return length;
}

/* Writes all bytes to the exchange. */
int
send_all(const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(EXCHANGE, bytes, length);
        if (written < 0) {
            if (errno == EINTR) continue;
            return -1;
        }
        bytes += written;
        length -= written;
    }
    return 0;
}

/* Reads a descriptor to its end. Returns memory with a NUL behind the bytes, or NULL. */
char *
read_record(int descriptor, size_t *length)
{
    size_t size = 1 << 14, used = 0;
    char *bytes = malloc(size + 1);

    for (;;) {
        if (used == size && size < RECORD_LIMIT) {
            char *larger = realloc(bytes, (size *= 2) + 1);
            if (larger == NULL) break;
            bytes = larger;
        }
        ssize_t more = bytes && used < size ? read_some(descriptor, bytes + used, size - used) : -1;
        if (more < 0) break;
        if (more == 0) {
            bytes[*length = used] = '\0';
            return bytes;
        }
        used += more;
    }
    free(bytes);
    return NULL;
}

static char *
read_file(const char *path, size_t *length)
{
    int descriptor = open(path, O_RDONLY);
    if (descriptor < 0) return NULL;
    char *bytes = read_record(descriptor, length);
    close(descriptor);
    return bytes;
}

/* Replaces the environment by the variables of a record, each with a NUL behind it. */
void
set_environment(char *record, char *end)
{
    clearenv();
    for (; record < end && *record; record += strlen(record) + 1) {
        char *value = strchr(record, '=');
        if (value == NULL) continue;
        *value = '\0';
        setenv(record, value + 1, 1);
        *value = '=';
    }
}

/* Takes the environment of this process: what the C library has read may be that of the pack's preparation. */
int
load_environment(void)
{
    size_t length;
    char *record = read_file("/proc/self/environ", &length);
    if (record == NULL) return -1;
    set_environment(record, record + length);
    free(record);
    return 0;
}

/* Splits the command line of this process. The words are terminated by a null pointer. */
char **
command_line(int *count)
{
    size_t length;
    char *record = read_file("/proc/self/cmdline", &length);
    char **words = record ? calloc(length + 2, sizeof *words) : NULL;
    *count = 0;
    for (char *word = record; words && word < record + length; word += strlen(word) + 1)
        words[(*count)++] = word;
    return words;
}


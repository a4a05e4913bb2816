/*
 * dlopen for native extensions. The host checks, compiles and links a module (host/src/extensions); memory for its data is
 * the caller's, so that malloc knows of it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IMPORT(name) __attribute__((import_module("extension"), import_name(#name)))

/* What an extension asks of the caller of extension_link. */
struct needs {
    uint32_t memory_size;
    uint32_t memory_alignment;
};

/* Opens a module. Returns its number, or -1. */
IMPORT(open) int32_t extension_open(const void *bytes, size_t size, struct needs *needs);
/* Links a module whose data will be at `memory`, which is cleared. Returns the function that initializes it, or NULL. */
IMPORT(link) void (*extension_link(int32_t number, void *memory))(void);
/* Returns the function of a linked module that is called `name`, or NULL. */
IMPORT(find) void *extension_find(int32_t number, const char *name, size_t length);
/* Copies the message of the last failure, without a zero at its end, and returns its length. */
IMPORT(message) size_t extension_message(char *buffer, size_t size);

struct library {
    int32_t number;
};

static char message[1024];
static int failed;

static void *
fail(const char *reason)
{
    if (reason) {
        snprintf(message, sizeof message, "%s", reason);
    }
    else {
        message[extension_message(message, sizeof message - 1)] = 0;
    }
    failed = 1;
    return NULL;
}

/* Reads a file of a program. Returns NULL with errno. */
static void *
read_file(const char *path, size_t *size)
{
    struct stat status;
    char *bytes = NULL;
    int fd = open(path, O_RDONLY);

    if (fd < 0) return NULL;
    if (fstat(fd, &status) == 0 && (bytes = malloc(status.st_size + 1)) != NULL) {
        size_t have = 0;
        ssize_t got;
        while (have < (size_t)status.st_size && (got = read(fd, bytes + have, status.st_size - have)) != 0) {
            if (got < 0) {
                free(bytes);
                bytes = NULL;
                break;
            }
            have += got;
        }
        *size = have;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return bytes;
}

void *
dlopen(const char *path, int flags)
{
    struct needs needs;
    size_t size;

    if (!path) return fail("a dyno has no global table of symbols");
    void *bytes = read_file(path, &size);
    if (!bytes) return fail(strerror(errno));
    int32_t number = extension_open(bytes, size, &needs);
    free(bytes);
    if (number < 0) return fail(NULL);
    size_t alignment = needs.memory_alignment < 16 ? 16 : needs.memory_alignment;
    size_t space = (needs.memory_size + alignment) & ~(alignment - 1);
    struct library *library = malloc(sizeof *library);
    void *memory = aligned_alloc(alignment, space);
    if (!memory || !library) {
        free(memory);
        free(library);
        return fail(strerror(ENOMEM));
    }
    memset(memory, 0, space);
    library->number = number;
    void (*initialize)(void) = extension_link(number, memory);
    if (!initialize) {
        free(memory);
        free(library);
        return fail(NULL);
    }
    initialize();
    return library;
}

void *
dlsym(void *restrict handle, const char *restrict name)
{
    struct library *library = handle;

    if (!library) return fail("a dyno has no global table of symbols");
    void *found = extension_find(library->number, name, strlen(name));
    return found ? found : fail(NULL);
}

char *
dlerror(void)
{
    if (!failed) return NULL;
    failed = 0;
    return message;
}

/* An extension stays until the process ends, because objects may refer to its functions. */
int
dlclose(void *handle)
{
    return 0;
}

/*
 * Settles the free memory of malloc before a dyno's memory becomes an image.
 *
 * The C library's malloc is dlmalloc (steps/compile.sh). Its heap is a sequence of chunks; each begins with a header:
 *
 *     uint32_t previous_size;   size of the chunk before, if that is free
 *     uint32_t head;            size of this chunk, a multiple of 16, and flags
 *
 * The last chunk, which grows with the memory, is followed by a header without flags.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PREVIOUS_IN_USE 1u
#define IN_USE 2u
#define FLAGS 7u
#define HEADER 8u
/* The first bytes of a free chunk contain links to others. */
#define LINKS 32u
/* Part of a chunk that a caller of malloc cannot use. */
#define OVERHEAD 4u
#define ALIGNMENT 16u
/* Smaller chunks scatter the allocations of requests; a larger one holds many of them together. */
#define SMALL_CHUNK (32u << 10)

struct chunk {
    uint32_t previous_size;
    uint32_t head;
};

extern unsigned char __heap_base;

/* The compiler removes a call of malloc whose result nobody uses. */
static void *(*volatile allocate)(size_t) = malloc;

/* Number of free chunks of each size. */
static uint16_t counts[SMALL_CHUNK / ALIGNMENT + 1];

static uintptr_t
memory_end(void)
{
    return __builtin_wasm_memory_size(0) << 16;
}

static uint32_t
size_of(const struct chunk *chunk)
{
    return chunk->head & ~FLAGS;
}

static struct chunk *
after(const struct chunk *chunk)
{
    return (struct chunk *)((uintptr_t)chunk + size_of(chunk));
}

static bool
is_free(const struct chunk *chunk)
{
    return !(chunk->head & IN_USE);
}

/* Tells whether the header of a chunk, and of the one after it, say the same. */
static bool
is_valid(const struct chunk *chunk)
{
    uint32_t size = size_of(chunk);

    if (size < ALIGNMENT || size % ALIGNMENT || size > memory_end() - (uintptr_t)chunk - HEADER) return false;
    const struct chunk *next = after(chunk);
    if (!is_free(chunk)) return next->head & PREVIOUS_IN_USE;
    return !(next->head & PREVIOUS_IN_USE) && (next->previous_size == size || !(next->head & FLAGS));
}

/* Clears a free chunk, so that the image contains nothing of it, and counts it if it is small. */
static void
clear(struct chunk *chunk)
{
    uint32_t size = size_of(chunk);
    bool is_last = !(after(chunk)->head & FLAGS);

    if (size > LINKS) memset((char *)chunk + LINKS, 0, size - LINKS);
    if (is_last || size > SMALL_CHUNK) return;
    if (counts[size / ALIGNMENT] < UINT16_MAX) counts[size / ALIGNMENT]++;
}

/*
 * Clears all free memory, and allocates small free chunks for ever: a request that allocated in free chunks all over the
 * heap would make each of their pages private to its dyno. The large ones stay free for requests.
 */
void
dyno_settle_free_blocks(void)
{
    uintptr_t start = ((uintptr_t)&__heap_base + HEADER + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT - HEADER;

    for (struct chunk *chunk = (struct chunk *)start; is_valid(chunk); chunk = after(chunk)) {
        if (is_free(chunk)) clear(chunk);
    }
    /* An exact fit is taken before any larger chunk. */
    for (uint32_t index = SMALL_CHUNK / ALIGNMENT; index > 0; index--) {
        for (; counts[index] > 0; counts[index]--) {
            if (!allocate(index * ALIGNMENT - OVERHEAD)) return;
        }
    }
}

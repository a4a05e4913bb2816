/*
 * Runtime of clang's -fprofile-generate, which the compiler's package lacks for WebAssembly.
 *
 * Instrumented code counts by itself. This file records the values that it reports (targets of indirect calls, sizes of
 * memory operations), and writes all of it for sdk/pack/src/mri/profile/dump.rs. A build that records a profile links it;
 * it is not instrumented itself.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "runtime.h"

/* An entry of the section __llvm_prf_data: __llvm_profile_data of LLVM's InstrProfData.inc for 32 bits. */
struct function_profile {
    uint64_t name, hash;
    /* Distance of the counters from this entry. */
    int32_t counters;
    int32_t bitmap;
    uint32_t function;
    struct recorded_value **values;
    uint32_t counter_count;
    uint16_t site_counts[3];
    uint32_t bitmap_size;
};
_Static_assert(sizeof(struct function_profile) == 48, "the layout of LLVM's profile data has changed");

struct recorded_value {
    uint64_t value, count;
    struct recorded_value *next;
};

/* Kinds of values that the dump contains; the third kind, virtual tables, is C++'s. */
#define VALUE_KINDS 2
/* Values kept of each site. Optimizations use at most the first three targets and eight sizes. */
#define VALUES_PER_SITE 16
/* Values kept of all sites, twice what the training programs need. */
#define VALUES (1 << 18)

extern struct function_profile __start___llvm_prf_data[], __stop___llvm_prf_data[];
extern char __start___llvm_prf_names[], __stop___llvm_prf_names[];

/* Instrumented code refers to this name, so that the linker finds a runtime. */
int __llvm_profile_runtime;

static struct recorded_value recorded_values[VALUES];
static uint32_t recorded_count;

void
__llvm_profile_instrument_target(uint64_t value, void *function, uint32_t site)
{
    struct recorded_value **values = ((struct function_profile *)function)->values;
    struct recorded_value *rarest = NULL;
    int count = 0;

    if (!values) return;
    for (struct recorded_value *at = values[site]; at; at = at->next) {
        if (at->value == value) {
            at->count++;
            return;
        }
        if (!rarest || at->count < rarest->count) rarest = at;
        count++;
    }
    if (count < VALUES_PER_SITE) {
        if (recorded_count == VALUES) return;
        struct recorded_value *new = &recorded_values[recorded_count++];
        *new = (struct recorded_value){ value, 1, values[site] };
        values[site] = new;
    }
    else if (--rarest->count == 0) {
        /* A value that is frequent from now on replaces one that was not. */
        rarest->value = value;
        rarest->count = 1;
    }
}

/* Sizes are recorded in the classes that the optimization expects: up to eight as they are, then powers of two and the ranges between. */
void
__llvm_profile_instrument_memop(uint64_t size, void *function, uint32_t site)
{
    if (size > 512) {
        size = 513;
    }
    else if (size > 8 && (size & (size - 1)) != 0) {
        uint64_t below = 8;
        while (below * 2 < size) below *= 2;
        size = below + 1;
    }
    __llvm_profile_instrument_target(size, function, site);
}

static uint64_t *
counters_of(struct function_profile *function)
{
    return (uint64_t *)((char *)function + function->counters);
}

/* Writes the words of the dump to `at` unless it is NULL, and returns their number. */
static size_t
write_words(uint64_t *at)
{
    size_t words = 0;
#define PUT(word) do { if (at) at[words] = (word); words++; } while (0)
    PUT(__stop___llvm_prf_data - __start___llvm_prf_data);
    for (struct function_profile *function = __start___llvm_prf_data; function < __stop___llvm_prf_data; function++) {
        PUT(function->name);
        PUT(function->hash);
        PUT(function->function);
        PUT(function->counter_count);
        for (uint32_t i = 0; i < function->counter_count; i++) PUT(counters_of(function)[i]);
        uint32_t site = 0;
        for (int kind = 0; kind < VALUE_KINDS; kind++) {
            PUT(function->site_counts[kind]);
            for (uint32_t i = 0; i < function->site_counts[kind]; i++, site++) {
                struct recorded_value *first = function->values ? function->values[site] : NULL;
                uint64_t count = 0;
                for (struct recorded_value *value = first; value; value = value->next) count++;
                PUT(count);
                for (struct recorded_value *value = first; value; value = value->next) {
                    PUT(value->value);
                    PUT(value->count);
                }
            }
        }
    }
    PUT(__stop___llvm_prf_names - __start___llvm_prf_names);
#undef PUT
    return words;
}

size_t
rb_wasm_profile(void *buffer)
{
    size_t names = __stop___llvm_prf_names - __start___llvm_prf_names;
    size_t words = write_words(buffer) * sizeof(uint64_t);
    if (buffer) memcpy((char *)buffer + words, __start___llvm_prf_names, names);
    return words + names;
}

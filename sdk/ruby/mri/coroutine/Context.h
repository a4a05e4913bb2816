#ifndef COROUTINE_WASM_CONTEXT_H
#define COROUTINE_WASM_CONTEXT_H
/*
 * MRI's interface of coroutines, on the slots of wasm/fiber.c; replaces the one for Asyncify.
 */
#include <stdint.h>
#include "wasm/machine.h"
#include "wasm/fiber.h"

#define COROUTINE void __attribute__((__noreturn__))

struct coroutine_context;
typedef COROUTINE (*coroutine_start)(struct coroutine_context *from, struct coroutine_context *self);

struct coroutine_context {
    void *argument;
    coroutine_start start;
    /* Stack pointer at which the coroutine starts. */
    void *stack_pointer;
    int slot;
};

static inline void
coroutine_initialize_main(struct coroutine_context *context)
{
    context->slot = rb_wasm_fiber_current();
}

/* `stack` has `size` bytes from its lowest address. The stack pointer is a multiple of 16 (BasicCABI.md, "The linear stack"). */
static inline void
coroutine_initialize(struct coroutine_context *context, int slot, coroutine_start start, void *stack, size_t size)
{
    context->start = start;
    context->slot = slot;
    context->stack_pointer = (void *)(((uintptr_t)stack + size) & ~(uintptr_t)15);
}

static inline struct coroutine_context *
coroutine_transfer(struct coroutine_context *current, struct coroutine_context *target)
{
    void *stack_pointer = rb_wasm_get_stack_pointer(), *limit = rb_wasm_stack_limit;

    rb_wasm_fiber_transfer(target);
    rb_wasm_set_stack_pointer(stack_pointer);
    rb_wasm_stack_limit = limit;
    return target;
}

static inline void
coroutine_destroy(struct coroutine_context *context)
{
}

#endif

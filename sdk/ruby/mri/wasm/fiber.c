/*
 * Coroutines on the host's native stacks; replaces MRI's fibers, which need Asyncify.
 *
 * A slot is a native stack of the host, which the functions imported from `fiber` create and switch to, together with a
 * stack in linear memory. Both outlive the coroutine and serve the next one, because the host never frees a native stack
 * of a running dyno. A coroutine that is abandoned in the middle leaves frames on the native stack; they are unwound
 * before the slot is used again. This cannot happen while the collector frees the coroutine's object.
 */
#include <stdbool.h>
#include <stdlib.h>
#include "wasm/machine.h"
#include "wasm/fiber.h"
#include "coroutine/asyncify/Context.h"

/* The host creates at most 256 native stacks, which it numbers from 1. */
#define SLOTS 257

#define IMPORT(name) __attribute__((import_module("fiber"), import_name(#name)))
IMPORT(create) int rb_wasm_native_stack_create(void);
IMPORT(switch) void rb_wasm_native_stack_switch(int slot);
IMPORT(unwind) void rb_wasm_native_stack_unwind(int slot);

struct slot {
    /* Stack in linear memory; allocated with the slot's first use. */
    void *stack;
    /* The coroutine that runs on the slot. */
    struct coroutine_context *context;
    /* Next vacant slot; 0 at the end. */
    int next_vacant;
    /* The native stack may have frames of a coroutine. */
    bool has_frames;
};

static struct slot slots[SLOTS];
static int current_slot, first_vacant;

void *rb_wasm_stack_limit;

/* The pass that inserts checks of the stack reads the limit's address from this function. */
__attribute__((used, noinline, no_profile_instrument_function)) void **
stack_limit(void)
{
    return &rb_wasm_stack_limit;
}

int
rb_wasm_fiber_current(void)
{
    return current_slot;
}

int
rb_wasm_fiber_acquire(void **stack)
{
    int slot = first_vacant;

    if (slot) {
        first_vacant = slots[slot].next_vacant;
    }
    else {
        slot = rb_wasm_native_stack_create();
        if (slot <= 0 || slot >= SLOTS) return 0;
    }
    if (slots[slot].has_frames) {
        void *sp = rb_wasm_get_stack_pointer();
        slots[slot].has_frames = false;
        rb_wasm_native_stack_unwind(slot);
        rb_wasm_set_stack_pointer(sp);
    }
    if (!slots[slot].stack) slots[slot].stack = malloc(RB_WASM_FIBER_STACK_SIZE);
    if (!slots[slot].stack) {
        rb_wasm_fiber_release(slot);
        return 0;
    }
    *stack = slots[slot].stack;
    return slot;
}

void
rb_wasm_fiber_release(int slot)
{
    slots[slot].next_vacant = first_vacant;
    first_vacant = slot;
}

void
rb_wasm_fiber_transfer(struct coroutine_context *target)
{
    int previous = current_slot;

    slots[target->slot].context = target;
    slots[target->slot].has_frames = true;
    current_slot = target->slot;
    rb_wasm_native_stack_switch(target->slot);
    current_slot = previous;
}

void
rb_wasm_fiber_forget(void)
{
    first_vacant = 0;
    for (int slot = 0; slot < SLOTS; slot++) slots[slot].has_frames = false;
}

/* The host calls this on a native stack without frames, to start the coroutine of the slot. */
__attribute__((export_name("fiber_entry"))) void
rb_wasm_fiber_entry(int slot)
{
    struct coroutine_context *context = slots[slot].context;

    /* The function's own check, before this, compares with the limit of the coroutine that has switched to this one. */
    rb_wasm_set_stack_pointer(context->stack_pointer);
    rb_wasm_stack_limit = (char *)slots[slot].stack + RB_WASM_FIBER_STACK_RESERVE;
    context->start(NULL, context);
    abort();
}

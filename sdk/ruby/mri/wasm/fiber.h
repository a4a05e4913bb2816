#ifndef RB_WASM_SUPPORT_FIBER_H
#define RB_WASM_SUPPORT_FIBER_H

#include <stddef.h>

struct coroutine_context;

/*
 * Bytes of a coroutine's stack in linear memory. The interpreter's stack is at the highest addresses; below it are C's
 * variables whose address is taken. No guard page lies below it.
 */
#define RB_WASM_FIBER_STACK_SIZE (768 << 10)
/* Bytes at the lowest addresses for the collector, and for the code that finds the handler of a SystemStackError. */
#define RB_WASM_FIBER_STACK_RESERVE (64 << 10)
/* Bytes at the lowest addresses that MRI's own checks of the stack leave free; they may be late by the difference. */
#define RB_WASM_FIBER_STACK_MARGIN (128 << 10)

/* Lowest address to which C's stack pointer may move; the functions that check it are chosen by sdk/pack/src/stack_limit.rs. */
extern void *rb_wasm_stack_limit;

/* Returns the slot of the running coroutine; 0 is the stack on which the host called MRI. */
int rb_wasm_fiber_current(void);

/*
 * Takes a slot for a new coroutine. Stores the lowest address of its stack in `stack`. Returns 0 if the dyno or the node
 * has no more native stacks, or if memory is exhausted.
 */
int rb_wasm_fiber_acquire(void **stack);

/* Returns the slot of a coroutine that has ended, or that will not run again. */
void rb_wasm_fiber_release(int slot);

/* Suspends the running coroutine and resumes or starts `target`. Returns when another coroutine switches back. */
void rb_wasm_fiber_transfer(struct coroutine_context *target);

/* Forgets all coroutines. The host keeps the memory in an image, whose dynos have no native stacks yet. */
void rb_wasm_fiber_forget(void);

#endif

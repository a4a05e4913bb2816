/*
 * Replaces MRI's fibers, which need Asyncify. MRI raises FiberError before it creates a fiber
 * (patches/fibers.patch), so rb_wasm_swapcontext is never called.
 */
#include <stdlib.h>
#include "wasm/fiber.h"
void
rb_wasm_init_context(rb_wasm_fiber_context *fcp, void (*func)(void *, void *), void *arg0, void *arg1)
{
    fcp->is_started = false;
    fcp->entry_point = func;
    fcp->arg0 = arg0;
    fcp->arg1 = arg1;
}
void
rb_wasm_swapcontext(rb_wasm_fiber_context *ofcp, rb_wasm_fiber_context *fcp)
{
    abort();
}

/*
 * Replaces MRI's stack scanner, which saves locals by Asyncify. The spill pass (sdk/pack/src/spill) stores pointers in
 * frames on the stack in linear memory, which MRI scans anyway, so there are no locals to scan.
 */
#include <stdlib.h>
#include "wasm/machine.h"

void
rb_wasm_scan_locals(rb_wasm_scan_func scan)
{
    void *sp = rb_wasm_get_stack_pointer();
    scan(sp, sp);
}

static void *rb_wasm_stack_base = NULL;

__attribute__((constructor))
int
rb_wasm_record_stack_base(void)
{
    rb_wasm_stack_base = rb_wasm_get_stack_pointer();
    return 0;
}

void *
rb_wasm_stack_get_base(void)
{
    return rb_wasm_stack_base;
}

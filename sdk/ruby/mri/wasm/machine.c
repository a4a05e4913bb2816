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

typedef int rb_wasm_no_setjmp_here;

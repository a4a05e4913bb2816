/* Replaces MRI's setjmp, since the compiler provides one. C requires at least one declaration in a file. */
typedef int rb_wasm_no_setjmp_here;

/* Replaces the header of MRI's setjmp by that of the C library. */
#ifndef RB_WASM_SUPPORT_SETJMP_H
#define RB_WASM_SUPPORT_SETJMP_H
#include <setjmp.h>
#endif

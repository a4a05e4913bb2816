#pragma once

/*
 * Writes all counters to `buffer` unless it is NULL, and returns their size in bytes: words of 64 bits in little-endian order, then
 * LLVM's section of names. The size changes when instrumented code runs.
 */
size_t rb_wasm_profile(void *buffer);

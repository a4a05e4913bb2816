//! Compiler flags that all code for dynos needs.

use std::path::{Path, PathBuf};

/// Flags of `zig clang` for code that becomes part of a side module.
///
/// A module exports the functions that the linker is told to. All others are hidden, because the linker makes an import of each weak
/// definition that is visible, such as each inline function of C++.
///
/// LLVM lowers `setjmp` to WebAssembly's exceptions, in the encoding of the standard. The directories of the C library's
/// headers come from [`include_directories`].
pub(crate) const COMPILE_FLAGS: &[&str] = &[
    "--target=wasm32-wasip1",
    "-mcpu=generic",
    "-mexception-handling",
    "-nostdinc",
    "-mllvm",
    "-wasm-enable-sjlj",
    "-mllvm",
    "-wasm-use-legacy-eh=false",
    "-fPIC",
    "-fvisibility=hidden",
    "-D_WASI_EMULATED_MMAN",
    "-D_WASI_EMULATED_SIGNAL",
    "-D_WASI_EMULATED_GETPID",
    "-D_WASI_EMULATED_PROCESS_CLOCKS",
];

/// Flags of `zig clang` for C++, beside those for all code. Each module has its own library of C++, and its own `operator new`.
pub(crate) const CPLUSPLUS_FLAGS: &[&str] = &[
    "-fwasm-exceptions",
    "-fvisibility-global-new-delete=force-hidden",
];

/// Returns the directories of the compiler's own headers and of the C library's, in the toolchain's directory, in the order of
/// the search.
pub(crate) fn include_directories(toolchain: &Path) -> [PathBuf; 3] {
    let library = toolchain.join("ziglang/lib");
    [
        library.join("include"),
        library.join("libc/include/wasm-wasi-musl"),
        library.join("libc/include/generic-musl"),
    ]
}

//! Command lines as `mkmf` writes them, translated into calls of the toolchain.

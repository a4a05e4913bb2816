//! Rules about the source tree, checked on the working tree.
//!
//! `cargo test -p corundum --test structure -- --nocapture` prints the measured figures.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod comments;
mod docs;
mod imports;
mod layers;
mod lexer;
mod modules;
mod old_names;
mod tree;
mod type_names;

//! Attacks on a real node: hostile pushes, apps, clients and disks. Each test names the defence that it checks.
//!
//! Tests that take minutes are ignored by default; `script/attack` runs all of them.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod access;
mod backup;
mod bit_flips;
mod builds;
mod control;
mod dice;
mod disk;
mod host;
mod images;
mod kills;
mod push;
mod push_refs;
mod push_tree;
mod router;
mod ruby;
mod upgrades;

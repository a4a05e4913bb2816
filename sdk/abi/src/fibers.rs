//! Import of the functions that give a guest native stacks for its fibers.
//!
//! A guest that imports any of them also exports [`ENTRY`]. A fiber is a number from 1; 0 is the stack on which the host
//! called the guest. No fiber outlives the dyno, and an image contains none: a guest forgets them before its snapshot.

/// Import module of the functions below.
pub const MODULE: &str = "fiber";
/// Creates a native stack and returns its number, or 0 if the dyno or the node may have no more. Type `[] -> [i32]`.
pub const CREATE: &str = "create";
/// Suspends the current stack and resumes the given one, which calls [`ENTRY`] if no fiber is on it. Returns when another
/// stack switches back. Type `[i32] -> []`.
pub const SWITCH: &str = "switch";
/// Removes the frames of a suspended fiber by an exception that the guest should not catch, so that its stack can run
/// another one. Type `[i32] -> []`.
pub const UNWIND: &str = "unwind";
/// Export that runs a fiber on the stack of the given number. Type `[i32] -> []`.
pub const ENTRY: &str = "fiber_entry";

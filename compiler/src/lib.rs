//! From an app's tree to a slug, and from a slug to an image.
//!
//! [`tree`] takes in what was pushed and refuses what no slug may hold; [`detect`] says what kind of app it is and
//! which pack it needs; [`lockfile`] and [`gems`] find what it is built on; [`slug`] writes the deterministic archive; [`image`] boots it. [`report`] is what the pusher
//! reads meanwhile. Nothing here speaks HTTP.

#![forbid(unsafe_code)]

pub mod detect;
pub mod gems;
pub mod image;
pub mod lockfile;
pub mod procfile;
pub mod report;
pub mod slug;
pub mod tree;

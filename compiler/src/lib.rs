//! From an app's tree to a slug, and from a slug to an image.
//!
//! [`tree`] takes in what was pushed and refuses what no slug may hold, [`slugignore`] leaves out what it need not hold;
//! [`detect`] says what kind of app it is and which pack it needs, [`app_json`] and [`procfile`] what it asks of the
//! platform; [`lockfile`] and [`gems`] find what it is built on; [`assets`] compresses what is in
//! `public/`; [`slug`] writes the deterministic archive; [`process`] says
//! what its processes are started with. [`report`] is what the pusher reads meanwhile. Nothing here serves HTTP.

#![forbid(unsafe_code)]

pub mod app_json;
pub mod assets;
pub mod checksum;
pub mod detect;
pub mod gems;
pub mod lockfile;
pub mod process;
pub mod procfile;
pub mod report;
pub mod requirement;
pub mod slug;
pub mod slugignore;
pub mod tree;

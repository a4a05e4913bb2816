//! The build of an app, from the pushed tree to a slug and the image of the booted app.
//!
//! [`pipeline`] runs the stages in order. They use, from the tree to the slug:
//!
//! - [`tree`] reads the pushed tar stream and rejects what a slug must not hold; [`slugignore`] excludes files;
//! - [`text`] decodes text files;
//! - [`detect`] finds out the language of the tree, [`ruby_version`] and [`language_version`] which series of it the app asks for;
//! - [`app_json`] and [`procfile`] parse the app's settings;
//! - [`lockfile`], [`requirement`], [`checksum`] and [`gems`] resolve, fetch and install gems;
//! - [`extensions`] builds native extensions of gems, with compilers in a [`jail`];
//! - [`git_command`] runs git within limits, for gems from repositories;
//! - [`assets`] compresses the files of `public/`;
//! - [`slug`] writes the deterministic archive;
//! - [`process`] makes the environment and arguments of the app's processes.
//!
//! [`report`] formats the output that the pusher reads. [`sandbox`] is the interface to the engine that evaluates the
//! Gemfile, boots the app and writes its image: this crate links no engine and serves no HTTP. It is an HTTP client
//! towards gem servers. Builds handle untrusted input, so the node runs them in a process of its own.

#![forbid(unsafe_code)]

pub mod app_json;
pub mod assets;
mod boot_output;
pub mod checksum;
pub mod command_line;
pub mod cron;
pub mod detect;
pub mod extensions;
pub mod gems;
pub mod git_command;
pub mod jail;
pub mod language_version;
pub mod lockfile;
mod made_files;
pub mod pipeline;
pub mod process;
pub mod procfile;
mod redact;
pub mod report;
pub mod requirement;
pub mod ruby_version;
pub mod sandbox;
pub mod slug;
pub mod slugignore;
pub mod text;
pub mod tree;

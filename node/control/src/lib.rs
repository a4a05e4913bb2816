//! The control plane of a node: everything that changes what the node serves, and the view of it that the router reads.
//!
//! The crate is a set of capabilities. Each is a folder or a file with a type that owns its state and holds the parts it
//! needs; no type holds the whole node. The binary's `server` module, the composition root, makes the types and connects
//! them. Records and SQLite are in `corundum-store`, the build process in `corundum-build`.
//!
//! | module | owns |
//! |---|---|
//! | [`data_dir`] | the paths and the lock of the data directory |
//! | [`packs`] | the open packs, and the move to better ones |
//! | [`builds`] | building an app with the right pack |
//! | [`releases`] | making, loading and replacing releases; config var changes and rollbacks |
//! | [`storage`] | which files are in use, the sweep and the trash, retention, quotas, background work |
//! | [`apps`] | creating, scaling, configuring and destroying apps; locks by app |
//! | [`domains`], [`certs`], [`acme`] | host names and their certificates |
//! | [`git`] | repositories, the smart HTTP protocol, the hook, pushes |
//! | [`logs`], [`drains`] | log lines in memory, and forwarding them |
//! | [`outbound`] | the operator's policy for connections that apps open |
//! | [`services`] | add-ons: databases and caches for apps, and the services that provide them |
//! | [`routing`] | the router's view of apps: virtual hosts, static files, error pages, the grid |
//! | [`metrics`], [`admin`] | the page of metrics, and the listener of metrics and health checks |
//! | [`api`] | the HTTP API: one file of handlers for each resource |
//! | `connections` | bounds of the control plane's connections: places, deadlines |
//! | [`lifecycle`] | listeners, start, takeover and end of the process |
//! | [`upgrade`] | preparing images before a takeover |
//!
//! # Where new capabilities go
//!
//! - **Services** (add-ons): a file in [`services`] that implements the trait `Service`.
//! - **Processes** (workers, release phase, clock): [`apps::formation`] scales by process type, and the grid runs the types.
//! - **Several nodes**: another implementation of `corundum_store::Store`, and a folder `cluster` that tells nodes of each
//!   other's releases. [`data_dir`] and [`releases`] are the only modules that read slugs and images from disk.
//! - **A dashboard**: a folder `dashboard` beside [`api`], served on the same listener with the same tokens.

#![forbid(unsafe_code)]

pub mod acme;
pub mod admin;
pub mod api;
pub mod app_urls;
pub mod apps;
mod build_record;
pub mod builds;
pub mod certs;
mod connections;
pub mod data_dir;
pub mod domains;
pub mod drains;
pub mod git;
pub mod lifecycle;
pub mod logs;
pub mod metrics;
pub mod outbound;
pub mod packs;
pub mod processes;
pub mod releases;
pub mod routing;
mod secret;
pub mod services;
pub mod storage;
pub mod upgrade;
pub mod usage;
pub mod volumes;
mod yielding_thread;

//! Nodes that have the gems of usual apps: Rails, Sinatra, Sidekiq and others of Debian 13.

use std::path::Path;

use crate::node::TestNode;
use crate::process::skip;

/// Gem directory that `script/rails-gems` makes.
pub const APP_GEMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/rails-gems");

/// Starts a node with the gems and further arguments. Without the gems, the test is skipped.
///
/// # Panics
///
/// Panics if the gems are missing and `CI=true`, and if the node does not start.
pub fn node_with_app_gems(arguments: &[&str]) -> Option<TestNode> {
    if !Path::new(APP_GEMS).join("complete").is_file() {
        skip("gems of usual apps are missing: run script/rails-gems");
        return None;
    }
    Some(TestNode::start_with(
        &[&["--gems", APP_GEMS], arguments].concat(),
    ))
}

/// Starts a node with the gems that offers Redis and memcached. Without Debian's servers, the test is skipped.
///
/// # Panics
///
/// As [`node_with_app_gems`].
pub fn node_with_services() -> Option<TestNode> {
    let installed = |program: &&str| Path::new("/usr/bin").join(program).exists();
    if !["redis-server", "memcached"].iter().all(installed) {
        skip("redis-server and memcached are missing: script/test installs them");
        return None;
    }
    node_with_app_gems(&["--dev-services"])
}

//! The state of formations and dynos as `ps` and the metrics show it.

use std::sync::Arc;
use std::time::Duration;

use corundum_abi::names::{AppName, DynoName, ReleaseVersion};

/// Activity of a dyno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DynoState {
    /// The dyno runs a command, serves a request or is being started for one.
    Busy,
    /// The dyno waits for a request.
    Idle,
    /// The dyno of a command is being started.
    Starting,
}

impl DynoState {
    /// Returns the word that `ps` shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Idle => "idle",
            Self::Starting => "starting",
        }
    }
}

/// State of one dyno.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynoStatus {
    /// Name of the dyno.
    pub name: DynoName,
    /// Activity of the dyno.
    pub state: DynoState,
    /// Release that the dyno runs.
    pub release: ReleaseVersion,
    /// Time since the dyno was started.
    pub age: Duration,
    /// Requests that the dyno had served when it was last idle.
    pub served: u32,
    /// Bytes that the node held for this dyno alone when it was last idle: its copies of pages of the image, growth, files.
    pub memory: usize,
    /// Bytes of the guest's linear memory then, most of which all dynos of a release share.
    pub linear_memory: usize,
    /// The command of a dyno that serves no requests, and its arguments.
    pub command: Option<Arc<[String]>>,
}

/// State of an app's formation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppStatus {
    /// Name of the app.
    pub name: AppName,
    /// Maximum number of web dynos.
    pub formation: u32,
    /// Dynos that serve a request or are being started.
    pub busy: u32,
    /// Dynos that wait for a request.
    pub idle: u32,
    /// Requests that wait for a dyno.
    pub waiting: usize,
    /// True while a circuit is open: no dynos are started because they fail, or requests of a route are refused because
    /// they crash their dynos.
    pub circuit_open: bool,
    /// Bytes that the node held for each dyno alone when it was last idle, in sum.
    pub memory: usize,
    /// Bytes that the node holds for the dynos of commands, in sum.
    pub command_memory: usize,
}

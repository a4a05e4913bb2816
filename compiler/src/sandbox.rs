//! Interface to the engine that runs the app's code.
//!
//! A build evaluates the Gemfile and boots the app, and both are untrusted code. This crate links no engine; the
//! binary implements [`Sandbox`] with the dyno host.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use corundum_abi::app_options::WarmUp;
use corundum_abi::outbound::{OutboundPolicy, OutboundTarget};
use corundum_pack::Manifest;
use corundum_pack::archive::Archive;

/// Cause of a [`SandboxError`]: an error of the engine.
pub type SandboxCause = Box<dyn Error + Send + Sync>;

/// An engine with an open pack, which runs app code in isolation and under limits.
pub trait Sandbox {
    /// Returns the manifest of the pack.
    fn manifest(&self) -> &Manifest;

    /// Opens a slug file.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Platform`]: the file is missing, damaged or not readable.
    fn open_slug(&self, path: &Path) -> Result<Arc<Archive>, SandboxError>;

    /// Runs a command of the pack to its end, without booting an app.
    ///
    /// # Errors
    ///
    /// [`SandboxError`].
    fn run(&self, app: &SandboxApp) -> Result<SandboxOutput, SandboxError>;

    /// Returns the root filesystem of the pack.
    fn root(&self) -> Arc<Archive>;

    /// Runs a build of the pack to its end; `tools` carries out its command lines, if it may have some carried out. Returns
    /// the end of what it logged, and its result.
    fn build(
        &self,
        app: &SandboxApp,
        tools: Option<Arc<dyn CommandTools>>,
    ) -> (String, Result<SandboxOutput, SandboxError>);

    /// Compiles a native extension, so that dynos can load it.
    ///
    /// # Errors
    ///
    /// [`SandboxError::App`]: the module cannot be an extension of the pack.
    fn compile_extension(&self, wasm: &[u8]) -> Result<(), SandboxError>;

    /// Boots an app and writes its memory as an image.
    fn boot(&self, request: &BootRequest<'_>) -> BootAttempt;
}

/// Programs outside of the sandbox that a build uses, such as compilers.
pub trait CommandTools: Send + Sync {
    /// Carries out a request and returns the answer.
    fn run(&self, request: &[u8]) -> Vec<u8>;
}

/// An app's files and the process to start from them.
pub struct SandboxApp {
    /// The app's files, below `/app`.
    pub files: Arc<Archive>,
    /// Arguments of the process, its command first.
    pub arguments: Arc<[String]>,
    /// Environment of the process.
    pub environ: Arc<[(String, String)]>,
    /// Rules for connections that the process opens.
    pub outbound: SandboxOutbound,
}

/// Rules for connections that a process opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SandboxOutbound {
    /// It may open none.
    None,
    /// Those of the app.
    App {
        /// Targets that its `app.json` lists, if it has a list.
        list: Option<Vec<OutboundTarget>>,
        /// The operator's policy for the app.
        policy: OutboundPolicy,
    },
}

/// Result of a command that ran to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxOutput {
    /// Exit status.
    pub status: i32,
    /// Bytes that the command wrote to its standard output.
    pub stdout: Vec<u8>,
}

/// A boot to attempt.
pub struct BootRequest<'a> {
    /// The app and its web process.
    pub app: &'a SandboxApp,
    /// Host and port at which the app is served; sample requests ask for it.
    pub host: &'a str,
    /// Sample requests that the app serves before its memory is saved.
    pub warm_up: &'a WarmUp,
    /// Directory to create for the image.
    pub image: &'a Path,
}

/// Result of a boot, with the output of the app.
#[derive(Debug)]
pub struct BootAttempt {
    /// Text that the app logged while it loaded; the sandbox may omit the middle of a long one.
    pub log: String,
    /// The booted app.
    pub result: Result<BootedApp, SandboxError>,
}

/// An app that has booted.
#[derive(Debug)]
pub struct BootedApp {
    /// Time that the app took to load.
    pub time: Duration,
    /// Answers to sample requests: of a dyno of the app to the first of them, and failures of others.
    pub samples: Vec<SampleAnswer>,
}

/// An app's answer to a sample request.
#[derive(Debug)]
pub struct SampleAnswer {
    /// Path of the request.
    pub path: String,
    /// The status of the response, or the reason why there is none.
    pub status: Result<u16, String>,
    /// Text that the app logged meanwhile.
    pub log: String,
}

/// A run of app code that failed.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The code exceeded its time: the app's fault.
    #[error(transparent)]
    Timeout(SandboxCause),
    /// The code ended in an error or exceeded its memory or output: the app's fault.
    #[error(transparent)]
    App(SandboxCause),
    /// The engine, the pack or the disk failed: the platform's fault.
    #[error(transparent)]
    Platform(SandboxCause),
}

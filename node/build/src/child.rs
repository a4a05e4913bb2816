//! The build process itself: compiles one untrusted app and writes its slug and image.

use std::error::Error;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use corundum_compiler::gems::{
    GemCache, GemCredentials, GemFetcher, GemSources, RepositoryFetcher,
};
use corundum_compiler::pipeline::{self, BuildEnv, BuildError, BuildPhase};
use corundum_compiler::report::BuildReport;
use corundum_compiler::sandbox::{Sandbox, SandboxCause};
use rustix::event::{PollFd, PollFlags, poll};

use crate::limits;
use crate::protocol::{BuildOutcome, BuildRequest, ProtocolError, REJECTED_STATUS};

/// A build without an outcome.
#[derive(Debug, thiserror::Error)]
enum ChildError {
    /// The node sent a bad request or the outcome cannot be stored: the platform's fault.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The process cannot limit itself: the platform's fault.
    #[error("build process: cannot be limited")]
    Limits(#[source] io::Error),
    /// The pack cannot be opened: the platform's fault.
    #[error(transparent)]
    Sandbox(SandboxCause),
    /// The pipeline failed; the variant says whose fault it is.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl ChildError {
    /// Returns whether the operator has to act, and not the pusher.
    fn is_platform_fault(&self) -> bool {
        match self {
            Self::Protocol(ProtocolError::TooLarge) => false,
            Self::Protocol(_) | Self::Limits(_) | Self::Sandbox(_) => true,
            Self::Build(error) => error.is_platform_fault(),
        }
    }
}

/// Runs a build process to its end.
///
/// `open_sandbox` gets the pack's directory and the time that one run of app code may take. This function calls it
/// after it has limited the process, because compiled code of the pack counts against the limits.
pub fn run<S: Sandbox>(
    open_sandbox: impl FnOnce(&Path, Duration) -> Result<S, SandboxCause>,
) -> ExitCode {
    exit_when_output_closes();
    let mut report = BuildReport::new(io::stdout());
    let mut title = String::new();
    match compile(&mut report, open_sandbox, &mut title) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let phase = match &error {
                ChildError::Build(error) => error.phase(),
                _ => BuildPhase::Compile,
            };
            let message = with_causes(&error);
            if error.is_platform_fault() {
                tracing::error!(error = message, "build failed");
            }
            report.error(&format!(
                "{message}\n\nPush rejected, failed to {phase} {title}app."
            ));
            ExitCode::from(REJECTED_STATUS)
        }
    }
}

/// Builds the app of the request on the standard input. `title` gets the name of its language, with a space behind it, as
/// soon as it is known.
fn compile<S: Sandbox>(
    report: &mut BuildReport<impl io::Write>,
    open_sandbox: impl FnOnce(&Path, Duration) -> Result<S, SandboxCause>,
    title: &mut String,
) -> Result<(), ChildError> {
    let mut input = io::stdin().lock();
    let request = BuildRequest::read(&mut input)?;
    limits::apply(request.limits, request.urgency).map_err(ChildError::Limits)?;
    let sandbox = open_sandbox(&request.pack, request.limits.boot).map_err(ChildError::Sandbox)?;
    *title = format!("{} ", sandbox.manifest().profile().title);
    let gem_cache = GemCache::new(&request.gem_cache, &request.directory);
    let credentials = GemCredentials::from_config(&request.config);
    let repositories = RepositoryFetcher::new(
        request.gem_servers.clone(),
        credentials.clone(),
        &request.directory,
    );
    let fetcher = GemFetcher::new(request.gem_servers, gem_cache).with_credentials(credentials);
    let env = BuildEnv {
        sandbox: &sandbox,
        output: &request.directory,
        gem_sources: GemSources {
            directories: &request.gem_directories,
            fetcher: &fetcher,
            repositories: &repositories,
        },
        cache: request
            .pack
            .ancestors()
            .nth(2)
            .unwrap_or(Path::new("/nonexistent")),
        pack: &request.pack,
        gemfile_timeout: request.limits.boot,
        slug_limit: request.limits.slug,
        host: &request.host,
        config: &request.config,
        outbound: &request.outbound,
    };
    let built = match &request.slug {
        Some(slug) => pipeline::rebuild_image(slug, &env, report)?,
        None => pipeline::build_tree(input, &env, report)?,
    };
    let outcome = BuildOutcome {
        slug: built.slug,
        description: built.description,
    };
    outcome.write(&request.directory)?;
    Ok(())
}

/// Ends this process when its output has no reader, so that builds end with the node that started them.
fn exit_when_output_closes() {
    // Without the thread the process limits still end the build in time.
    let _ = std::thread::Builder::new().spawn(|| {
        let output = io::stdout();
        let mut polled = [PollFd::new(&output, PollFlags::empty())];
        while poll(&mut polled, None) != Ok(1) {}
        std::process::exit(1);
    });
}

/// Joins an error with its causes, without those that its message already ends with.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_shown_once() {
        let cause = || io::Error::other("disk full");
        let hidden = ChildError::Limits(cause());
        assert_eq!(
            with_causes(&hidden),
            "build process: cannot be limited: disk full"
        );
        let shown = ChildError::Sandbox(Box::new(cause()));
        assert_eq!(with_causes(&shown), "disk full");
    }
}

//! Sandbox of the build process: runs app code in dynos of `corundum-host`.

mod boot_log;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use corundum_compiler::sandbox::{
    BootAttempt, BootRequest, BootedApp, CommandTools, SampleAnswer, Sandbox, SandboxApp,
    SandboxCause, SandboxError, SandboxOutbound, SandboxOutput,
};
use corundum_host::boot::{
    self, AppProcess, BootError, BootLimits, BootReport, SampleReport, SampleRequests,
};
use corundum_host::engine::{Engine, EngineConfig};
use corundum_host::extensions::ExtensionCodeError;
use corundum_host::outbound::{AppOutbound, OutboundRules};
use corundum_host::pack::Pack;
use corundum_host::slug;
use corundum_host::tools::ToolRunner;
use corundum_pack::archive::Archive;
use corundum_pack::{Manifest, PackDir};
use tokio::runtime::{Builder, Runtime};

use self::boot_log::BootLog;

/// Time of the build of one gem's extension, or of the app's assets.
const BUILD_TIMEOUT: Duration = Duration::from_secs(600);
/// Bytes of the files that it makes.
const BUILD_BYTES: usize = 128 << 20;

/// An engine with one open pack.
pub(crate) struct HostSandbox {
    engine: Engine,
    pack: Pack,
    runtime: Runtime,
    limits: BootLimits,
}

impl HostSandbox {
    /// Opens the prepared pack in `directory`. Each run of app code may take `timeout`.
    pub(crate) fn open(directory: &Path, timeout: Duration) -> Result<Self, SandboxCause> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let engine = Engine::new(EngineConfig::on_demand())?;
        let directory = PackDir::open(directory)?;
        let log = Arc::new(BootLog::default());
        let pack = runtime.block_on(Pack::open(&engine, &directory, log, |_| {}))?;
        let limits = BootLimits {
            boot: timeout,
            ..BootLimits::default()
        };
        Ok(Self {
            engine,
            pack,
            runtime,
            limits,
        })
    }
}

/// The tools of a build, as the host calls them.
struct HostTools(Arc<dyn CommandTools>);

impl ToolRunner for HostTools {
    fn run(&self, request: &[u8]) -> Vec<u8> {
        self.0.run(request)
    }
}

impl Sandbox for HostSandbox {
    fn manifest(&self) -> &Manifest {
        self.pack.manifest()
    }

    fn open_slug(&self, path: &Path) -> Result<Arc<Archive>, SandboxError> {
        let slug = slug::open(path, None).map_err(|error| SandboxError::Platform(error.into()))?;
        Ok(Arc::new(slug))
    }

    fn run(&self, app: &SandboxApp) -> Result<SandboxOutput, SandboxError> {
        let (app, log) = (host_app(app), Arc::new(BootLog::default()));
        let run = boot::run_command(&self.engine, &self.pack, &app, None, &self.limits, log);
        let (status, stdout) = self.runtime.block_on(run).map_err(sandbox_error)?;
        Ok(SandboxOutput { status, stdout })
    }

    fn root(&self) -> Arc<Archive> {
        self.pack.root().clone()
    }

    fn build(
        &self,
        app: &SandboxApp,
        tools: Option<Arc<dyn CommandTools>>,
    ) -> (String, Result<SandboxOutput, SandboxError>) {
        let (app, log) = (host_app(app), Arc::new(BootLog::default()));
        let limits = BootLimits {
            boot: BUILD_TIMEOUT,
            output: BUILD_BYTES,
            ..self.limits.clone()
        };
        let tools = tools.map(|tools| Arc::new(HostTools(tools)) as Arc<dyn ToolRunner>);
        let run = boot::run_command(&self.engine, &self.pack, &app, tools, &limits, log.clone());
        let ended = self.runtime.block_on(run).map_err(sandbox_error);
        let output = ended.map(|(status, stdout)| SandboxOutput { status, stdout });
        (log.text(), output)
    }

    fn compile_extension(&self, wasm: &[u8]) -> Result<(), SandboxError> {
        let compiled = self.pack.compile_extension(wasm);
        compiled.map_err(|error| match error {
            ExtensionCodeError::Module(_) => SandboxError::App(error.into()),
            error => SandboxError::Platform(error.into()),
        })
    }

    fn boot(&self, request: &BootRequest<'_>) -> BootAttempt {
        let (app, log) = (host_app(request.app), Arc::new(BootLog::default()));
        let samples = SampleRequests {
            host: request.host.to_owned(),
            warm_up: request.warm_up.clone(),
        };
        let booted = self.runtime.block_on(boot::boot(
            &self.engine,
            &self.pack,
            &app,
            &samples,
            &self.limits,
            log.clone(),
            request.image,
        ));
        BootAttempt {
            log: log.text(),
            result: booted.map(booted_app).map_err(sandbox_error),
        }
    }
}

fn booted_app(booted: BootReport) -> BootedApp {
    let answer = |sample: SampleReport| {
        let lines = sample.lines.iter();
        let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line)).collect();
        SampleAnswer {
            path: sample.path,
            status: sample.status,
            log: lines.join("\n"),
        }
    };
    BootedApp {
        time: booted.boot,
        samples: booted.samples.into_iter().map(answer).collect(),
    }
}

fn host_app(app: &SandboxApp) -> AppProcess {
    AppProcess {
        slug: Some(app.files.clone()),
        arguments: app.arguments.clone(),
        environ: app.environ.clone(),
        outbound: match app.outbound.clone() {
            SandboxOutbound::None => OutboundRules::closed(),
            SandboxOutbound::App { list, policy } => {
                OutboundRules::new(list, AppOutbound::new(policy))
            }
        },
    }
}

fn sandbox_error(error: BootError) -> SandboxError {
    match error {
        BootError::Timeout(_) | BootError::RestoreTimeout(_) => SandboxError::Timeout(error.into()),
        BootError::App(_)
        | BootError::Restore(_)
        | BootError::Memory(_)
        | BootError::Files(_)
        | BootError::Output(_) => SandboxError::App(error.into()),
        BootError::Start(_) | BootError::Image(_) => SandboxError::Platform(error.into()),
    }
}

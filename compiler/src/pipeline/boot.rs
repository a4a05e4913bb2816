//! Last stage: boots the app from its slug and writes its memory as an image.

use std::io::Write;

use corundum_abi::names::SlugDigest;

use super::env::BuildEnv;
use super::error::BuildError;
use super::slug::CompiledSlug;
use crate::boot_output;
use crate::process;
use crate::report::BuildReport;
use crate::sandbox::{BootRequest, SampleAnswer, Sandbox, SandboxApp, SandboxOutbound};
use crate::slug::SlugDescription;

/// Name of the image in the build's output directory.
pub const IMAGE_DIRECTORY: &str = "image";

/// Messages of a failed sample request that the pusher sees.
const MESSAGES: usize = 3;

/// A finished build, whose slug and image lie in the output directory.
#[derive(Debug)]
pub struct BuiltApp {
    /// Digest of the slug; none if it existed before.
    pub slug: Option<SlugDigest>,
    /// Description that the slug contains.
    pub description: SlugDescription,
}

impl CompiledSlug {
    /// Boots the web process and writes the image.
    pub(super) fn boot<S: Sandbox>(
        self,
        env: &BuildEnv<'_, S>,
        report: &mut BuildReport<impl Write>,
    ) -> Result<BuiltApp, BuildError> {
        let arguments = process::split_command(self.description.web_command())?;
        let app = SandboxApp {
            files: self.archive,
            arguments,
            environ: process::environ(env.sandbox.manifest().profile(), env.config.iter().cloned()),
            outbound: SandboxOutbound::App {
                list: self.description.outbound.clone(),
                policy: env.outbound.clone(),
            },
        };
        let image = env.output.join(IMAGE_DIRECTORY);
        let request = BootRequest {
            app: &app,
            host: env.host,
            warm_up: &self.description.warm_up,
            image: &image,
        };
        let attempt = env.sandbox.boot(&request);
        match attempt.result {
            Ok(booted) => {
                report.detail(&attempt.log);
                report.topic(&format!("Booting... done ({} ms)", booted.time.as_millis()));
                for warning in booted.samples.iter().filter_map(warning) {
                    report.detail(&warning);
                }
            }
            Err(error) => {
                report.topic("Booting... failed");
                report.detail(&boot_output::shortened(&attempt.log));
                let cause = boot_output::cause(&attempt.log);
                return Err(BuildError::Boot { error, cause });
            }
        }
        Ok(BuiltApp {
            slug: self.digest,
            description: self.description,
        })
    }
}

/// Returns a warning about an app that boots and fails its sample requests.
fn warning(sample: &SampleAnswer) -> Option<String> {
    let problem = match &sample.status {
        Ok(..500) => return None,
        Ok(status) => format!("the app answered with status {status}"),
        Err(problem) => problem.clone(),
    };
    let path = &sample.path;
    let mut text = format!("Warning: the sample request GET {path} failed: {problem}");
    for line in boot_output::cause(&sample.log)
        .into_iter()
        .chain(boot_output::logged_errors(&sample.log))
        .take(MESSAGES)
    {
        text.push('\n');
        text.push_str(&line);
    }
    Some(text)
}

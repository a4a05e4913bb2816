//! Rules about boot, restore and commands.

use std::path::Path;

use corundum_host::boot::WarmUp;

use super::probe::{Deployment, ProbeApp, ProbePack, get};
use super::{ConformanceReport, ensure, expect};

/// Checks the rules. `work` is a folder for images.
pub(super) async fn check(
    pack: &ProbePack,
    app: &ProbeApp,
    work: &Path,
    report: &mut ConformanceReport,
) {
    let path = work.join("without-samples");
    report
        .check(
            "life: the app boots without sample requests",
            "an end of file on descriptor 1000 in dyno_boot is the end of a round, also of an empty one",
            async {
                let booted = pack.boot(WarmUp::None, &path).await;
                booted.map_err(|error| error.to_string())?;
                let app = pack.deploy(&path).map_err(|error| error.to_string())?;
                expect(&app, Deployment::Keeping, "/", "ok").await
            },
        )
        .await;
    report
        .check(
            "life: a restored dyno has its own environment",
            "dyno_restore must replace the environment by the record on descriptor 1000: the process number, a NUL, then NAME=value with a NUL behind each",
            expect(app, Deployment::Fresh, "/env?PROBE", "restored"),
        )
        .await;
    report
        .check(
            "life: the platform's variables are there",
            "read the environment from /proc/self/environ in dyno_boot: the C library may keep that of the pack's preparation",
            expect(app, Deployment::Fresh, "/env?PORT", "5000"),
        )
        .await;
    report
        .check(
            "life: the working directory is /app",
            "call chdir(\"/app\") in dyno_boot and dyno_run",
            expect(app, Deployment::Fresh, "/file", "contents of probe.txt"),
        )
        .await;
    report
        .check(
            "life: state survives from one request to the next",
            "dyno_handle must serve each request with the memory of the one before",
            async {
                let first = app.text(Deployment::Keeping, "/count").await?;
                let second = app.text(Deployment::Keeping, "/count").await?;
                let number = |text: &str| {
                    text.parse::<u64>()
                        .map_err(|_| format!("/count is {text:?}"))
                };
                ensure(number(&second)? == number(&first)? + 1, || {
                    format!("/count was {first}, then {second}")
                })?;
                Ok(String::new())
            },
        )
        .await;
    report
        .check(
            "life: isolation by request leaves no state",
            "state outside of linear memory and globals is not part of an image; keep none",
            async {
                let first = app.text(Deployment::Fresh, "/count").await?;
                let second = app.text(Deployment::Fresh, "/count").await?;
                ensure(first == second, || {
                    format!("/count was {first}, then {second}")
                })?;
                Ok(String::new())
            },
        )
        .await;
    let command = probe_command(pack);
    report
        .check(
            "life: a command has arguments, environment and an exit status",
            "dyno_run must run the command in /proc/self/cmdline with the variables of /proc/self/environ, and return its status",
            async {
                let command = command.ok_or("the probe app has no file command.*")?;
                let run = pack.run(&command).await;
                let status = run.map_err(|error| error.to_string())?;
                let lines = pack.log.lines();
                let is_printed = lines.iter().any(|line| line.trim() == "one two run");
                ensure(status == 7 && is_printed, || {
                    format!(
                        "the status is {status}, expected 7 and the line \"one two run\" in the output:\n{}",
                        pack.log.text()
                    )
                })?;
                Ok(String::new())
            },
        )
        .await;
    report
        .check(
            "life: an unknown path is a response, not an end",
            "serve errors of the app as responses",
            async {
                let answer = app.send(Deployment::Keeping, get("/nowhere")).await?;
                ensure(answer.status == 404, || {
                    format!("the status is {}", answer.status)
                })?;
                Ok(String::new())
            },
        )
        .await;
}

/// Returns the command that runs the probe app's file `command.*` with two arguments.
fn probe_command(pack: &ProbePack) -> Option<Vec<String>> {
    let program = match &*pack.pack.manifest().language {
        // The web process is rackup.
        corundum_pack::ruby::LANGUAGE => "ruby".to_owned(),
        _ => pack.web_command().first()?.clone(),
    };
    let file = pack.file_starting_with("command.")?;
    Some(vec![program, file, "one".to_owned(), "two".to_owned()])
}

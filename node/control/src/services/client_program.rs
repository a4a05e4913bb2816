//! Programs of a server's clients, such as `pg_dump`: one run with limits, and with secrets in the environment only, which no
//! other user of the machine can read.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use corundum_abi::terminal_text::{AllowedControls, TerminalText};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

/// The time for one run.
const RUN: Duration = Duration::from_secs(60 * 60);

/// Bytes of virtual memory of a run.
const MEMORY: u64 = 2 << 30;

/// Bytes of the output, and of the errors, that the node reads.
const MAX_OUTPUT: u64 = 64 << 10;

/// Characters of a failure's message.
const MAX_MESSAGE: usize = 500;

/// A program to run.
pub(super) struct ClientProgram {
    /// The program.
    pub(super) program: PathBuf,
    /// Its arguments, which every user of the machine can read.
    pub(super) arguments: Vec<String>,
    /// Its environment, with secrets.
    pub(super) environment: Vec<(&'static str, String)>,
    /// Bytes of the largest file that it may write.
    pub(super) file_size: u64,
    /// Its standard input, which the node writes whole: less than a pipe holds.
    pub(super) input: String,
}

impl ClientProgram {
    /// Runs the program to its end, and returns the beginning of its output. It is killed if the future is dropped, or when the node ends.
    ///
    /// # Errors
    ///
    /// One line: the program cannot be started, exceeds a limit, or fails with this message.
    pub(super) async fn run(self) -> Result<String, String> {
        let name = self.program.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", "prlimit", "--core=0"])
            .args(["--nofile=256", "--cpu=3600"])
            .arg(format!("--as={MEMORY}"))
            .arg(format!("--fsize={}", self.file_size))
            .args(["--", "nice", "-n", "10"])
            .arg(&self.program)
            .args(&self.arguments)
            .current_dir("/")
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .envs(self.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let started = command.spawn();
        let mut child = started.map_err(|error| format!("{name} cannot be started: {error}"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let errors = child.stderr.take();
        let work = async {
            let write = async {
                if let Some(mut input) = input {
                    // A program that has ended before it has read everything says why.
                    let _ = input.write_all(self.input.as_bytes()).await;
                }
                Ok::<_, std::io::Error>(())
            };
            let ((), output, errors) = tokio::try_join!(write, read(output), read(errors))?;
            Ok::<_, std::io::Error>((child.wait().await?, output, errors))
        };
        let (status, output, errors) = match timeout(RUN, work).await {
            Ok(done) => done.map_err(|error| format!("{name}: {error}"))?,
            Err(_) => return Err(format!("{name} took longer than an hour and was stopped")),
        };
        match status.success() {
            true => Ok(String::from_utf8_lossy(&output).into_owned()),
            false => Err(message(&name, &errors, &status.to_string())),
        }
    }
}

/// Reads a pipe to its end, and returns its beginning.
async fn read(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(MAX_OUTPUT).read_to_end(&mut text).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(text)
}

/// Returns the first error line of a program as one line that a terminal can show.
fn message(name: &str, errors: &[u8], status: &str) -> String {
    let errors = String::from_utf8_lossy(errors);
    let lines = || {
        errors
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let line = lines().find(|line| line.contains("error:") || line.contains("ERROR"));
    let line = line.or_else(|| lines().next());
    let line = line
        .unwrap_or(status)
        .trim_start_matches(&format!("{name}: "));
    let line: String = line.chars().take(MAX_MESSAGE).collect();
    let line = TerminalText::line(AllowedControls::default(), line.as_bytes());
    format!("{name}: {line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> ClientProgram {
        ClientProgram {
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: vec![("SECRET", "s".to_owned())],
            file_size: 4096,
            input: String::new(),
        }
    }

    #[tokio::test]
    async fn failure_has_the_programs_error_line() {
        let error = shell("echo starting >&2; echo \"sh: error: bad \u{1b}[2Jthing\" >&2; exit 3");
        let error = error.run().await.unwrap_err();
        assert!(error.starts_with("sh: error: bad ") && !error.contains('\u{1b}'));
        assert!(shell("exit 3").run().await.unwrap_err().contains('3'));
        shell("test $SECRET = s -a -z \"$HOME\"")
            .run()
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn program_reads_its_input_and_its_output_is_returned() {
        let mut program = shell("tr a-z A-Z");
        program.input = "statements".to_owned();
        assert_eq!(program.run().await.unwrap(), "STATEMENTS");
        let mut deaf = shell("exit 0");
        deaf.input = "x".repeat(60_000);
        deaf.run().await.unwrap();
        let long = shell("head -c 1000000 /dev/zero").run().await.unwrap();
        assert_eq!(long.len() as u64, MAX_OUTPUT);
    }

    #[tokio::test]
    async fn file_beyond_the_limit_ends_the_program() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let script = format!("head -c 100000 /dev/zero > {}", file.display());
        assert!(shell(&script).run().await.is_err());
        assert!(std::fs::metadata(file).unwrap().len() <= 4096);
    }
}

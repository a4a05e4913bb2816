//! Execution of a compiler on a stranger's sources.
//!
//! C code can make a compiler read any file (`#include`), and a defect of the compiler may run code. A jailed program
//! therefore reads only the folders that it needs, writes to one, has no network, no environment and no other process to signal, and
//! ends at limits of time, memory and output. Landlock (landlock(7)) and a filter of system calls (seccomp(2)) restrict the
//! thread that starts the program, and the program inherits both.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// Bytes of output that are kept from the end of each stream.
const OUTPUT: u64 = 1 << 20;
/// Bytes of private memory: four times what nokogiri's largest file takes.
const MEMORY: u64 = 2 << 30;
/// Bytes of one file.
const FILE: u64 = 256 << 20;
/// Open files.
const FILES: u64 = 256;
/// Interval between two looks whether a program has ended.
const POLL: Duration = Duration::from_millis(2);

/// System calls that a compiler does not need: those of networks, of other processes, and those that pass by this filter.
const DENIED: [libc::c_long; 14] = [
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kill,
    libc::SYS_pidfd_send_signal,
    libc::SYS_io_uring_setup,
    libc::SYS_bpf,
    libc::SYS_mount,
    libc::SYS_unshare,
    libc::SYS_setns,
];

/// Files and time of a jailed program.
#[derive(Debug, Clone)]
pub struct Jail {
    /// Files, and folders whose files, it may read and run.
    pub readable: Vec<PathBuf>,
    /// The folder in which it may make and change files.
    pub writable: PathBuf,
    /// The folder in which it starts.
    pub directory: PathBuf,
    /// Time until it is killed.
    pub deadline: Duration,
}

/// The end of a jailed program.
#[derive(Debug)]
pub struct JailedOutput {
    /// Its exit status, or 128 and the number of the signal that ended it.
    pub status: i32,
    /// The end of its output.
    pub output: Vec<u8>,
    /// The end of its messages.
    pub errors: Vec<u8>,
}

/// Failure to run a program in a jail. The platform is at fault, but for [`JailError::Deadline`].
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// The kernel cannot restrict the program.
    #[error("the kernel cannot restrict compilers (Landlock, Linux 5.13): {0}")]
    Landlock(#[from] RulesetError),
    /// The filter of system calls cannot be applied.
    #[error("the kernel cannot restrict compilers (seccomp): {0}")]
    Seccomp(String),
    /// The program cannot be started.
    #[error("cannot run {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// Cause of the failure.
        source: io::Error,
    },
    /// The program took too long.
    #[error("{program} did not end within {} s", .deadline.as_secs())]
    Deadline {
        /// The program.
        program: String,
        /// The time that it had.
        deadline: Duration,
    },
}

impl Jail {
    /// Runs a program to its end.
    ///
    /// # Errors
    ///
    /// [`JailError`]. A program that fails is none.
    pub fn run(&self, program: &Path, arguments: &[OsString]) -> Result<JailedOutput, JailError> {
        let failed = |source: io::Error| JailError::Start {
            program: program.display().to_string(),
            source,
        };
        let (mut output, mut errors) = (
            tempfile::tempfile().map_err(failed)?,
            tempfile::tempfile().map_err(failed)?,
        );
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("TMPDIR", &self.writable)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(errors.try_clone().map_err(failed)?)
            .process_group(0);
        // The restrictions stay with the thread that starts the program. This one must be able to kill it.
        let started = thread::scope(|scope| {
            let start = scope.spawn(|| {
                self.restrict_thread()?;
                command.spawn().map_err(failed)
            });
            start
                .join()
                .unwrap_or_else(|_| Err(JailError::Seccomp("the thread ended".to_owned())))
        });
        let mut group = JailedGroup(started?);
        group.limit(self.deadline);
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = group.0.try_wait().map_err(failed)? {
                break status;
            }
            if begun.elapsed() > self.deadline {
                return Err(JailError::Deadline {
                    program: program
                        .file_name()
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned(),
                    deadline: self.deadline,
                });
            }
            thread::sleep(POLL);
        };
        drop(group);
        Ok(JailedOutput {
            status: code(status),
            output: end_of(&mut output).map_err(failed)?,
            errors: end_of(&mut errors).map_err(failed)?,
        })
    }

    /// Restricts this thread, and all processes that it starts, for good.
    fn restrict_thread(&self) -> Result<(), JailError> {
        let access = AccessFs::from_all(ABI::V1);
        let newer = ABI::V6;
        Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(access)?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(newer))?
            .handle_access(AccessNet::from_all(newer))?
            .scope(Scope::from_all(newer))?
            .create()?
            .add_rules(path_beneath_rules(
                &self.readable,
                AccessFs::from_read(newer),
            ))?
            .add_rules(path_beneath_rules(
                [&self.writable],
                AccessFs::from_all(newer),
            ))?
            .add_rules(path_beneath_rules(
                ["/dev/null"],
                AccessFs::from_file(newer),
            ))?
            .restrict_self()?;
        let filter = filter().map_err(JailError::Seccomp)?;
        seccompiler::apply_filter(&filter).map_err(|error| JailError::Seccomp(error.to_string()))
    }
}

/// A jailed program and the processes that it has started, which end with this.
struct JailedGroup(Child);

impl JailedGroup {
    /// Lowers the limits that the program has inherited.
    fn limit(&self, deadline: Duration) {
        let limits = [
            (Resource::Cpu, deadline.as_secs()),
            (Resource::Data, MEMORY),
            (Resource::Fsize, FILE),
            (Resource::Nofile, FILES),
            (Resource::Core, 0),
        ];
        for (resource, value) in limits {
            let limit = Rlimit {
                current: Some(value),
                maximum: Some(value),
            };
            // A program that has ended, or whose limit is lower already, needs none.
            let _ = prlimit(Some(Pid::from_child(&self.0)), resource, limit);
        }
    }
}

impl Drop for JailedGroup {
    fn drop(&mut self) {
        // The group keeps its number while one of its processes lives, and there may be none left.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

fn filter() -> Result<BpfProgram, String> {
    let text = |error: seccompiler::BackendError| error.to_string();
    let arch = std::env::consts::ARCH.try_into().map_err(text)?;
    let rules = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, arch).map_err(text)?;
    filter.try_into().map_err(text)
}

fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// Returns the end of a file that a program has written.
fn end_of(file: &mut File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    file.seek(io::SeekFrom::Start(length.saturating_sub(OUTPUT)))?;
    let mut bytes = Vec::new();
    file.take(OUTPUT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Runs a shell script in a jail with the machine's own programs.
    fn run(script: &str, deadline: u64) -> Result<JailedOutput, JailError> {
        let work = tempfile::tempdir().unwrap();
        let jail = Jail {
            readable: ["/bin", "/usr", "/lib", "/lib64"]
                .map(PathBuf::from)
                .to_vec(),
            writable: work.path().to_owned(),
            directory: work.path().to_owned(),
            deadline: Duration::from_secs(deadline),
        };
        jail.run(Path::new("/bin/bash"), &["-c".into(), script.into()])
    }

    #[test]
    fn program_writes_in_its_folder_alone() {
        let outside = tempfile::tempdir().unwrap();
        let path = outside.path().join("file");
        fs::write(&path, "secret").unwrap();
        let path = path.display();
        let ended = run(
            &format!(
                "echo here >own && cat own; cat {path}; cat /etc/passwd; echo x >>{path}; echo x >{path}2; ls {}",
                outside.path().display()
            ),
            20,
        );
        let ended = ended.unwrap();
        assert_eq!(ended.output, b"here\n");
        let errors = String::from_utf8_lossy(&ended.errors);
        assert_eq!(errors.matches("Permission denied").count(), 5, "{errors}");
        assert_eq!(
            fs::read_to_string(outside.path().join("file")).unwrap(),
            "secret"
        );
    }

    #[test]
    fn link_out_of_the_folder_leads_nowhere() {
        let ended = run(
            "ln -s /etc/passwd link && cat link; ln /etc/hostname hard; cat hard",
            20,
        )
        .unwrap();
        assert_eq!(ended.output, b"");
    }

    #[test]
    fn program_has_neither_network_nor_environment() {
        let ended = run("exec 3<>/dev/tcp/127.0.0.1/9; env", 20).unwrap();
        let errors = String::from_utf8_lossy(&ended.errors);
        assert!(errors.contains("not permitted"), "{errors}");
        let output = String::from_utf8_lossy(&ended.output);
        assert!(!output.contains("HOME="), "{output}");
    }

    #[test]
    fn program_cannot_signal_others() {
        let ended = run(&format!("kill -TERM {}", std::process::id()), 20).unwrap();
        assert_ne!(ended.status, 0);
    }

    #[test]
    fn program_ends_at_its_deadline_with_its_children() {
        let error = run("sleep 600 & echo $! >child; sleep 600", 1).unwrap_err();
        assert_eq!(error.to_string(), "bash did not end within 1 s");
    }

    #[test]
    fn memory_and_files_are_bounded() {
        let ended = run("head -c 300M /dev/zero >large; wc -c <large", 60).unwrap();
        let size: u64 = String::from_utf8_lossy(&ended.output)
            .trim()
            .parse()
            .unwrap_or_default();
        assert!(size <= FILE, "{ended:?}");
        let ended = run(
            "a=$(head -c 100M /bin/bash | tr '\\0' a); for i in {1..12}; do a=$a$a; done; echo ${#a}",
            60,
        );
        assert_ne!(ended.unwrap().status, 0);
    }

    #[test]
    fn output_is_bounded() {
        let ended = run("for i in {1..300000}; do echo 0123456789; done", 60).unwrap();
        assert_eq!(ended.output.len() as u64, OUTPUT);
    }
}

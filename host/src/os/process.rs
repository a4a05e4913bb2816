//! The process that a guest sees in `/proc/self`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

/// Process number of the next dyno of this node, never 0 or 1. Each dyno gets a new one, for libraries that detect a
/// fork by comparing process numbers.
static NEXT_PID: AtomicU32 = AtomicU32::new(2);

/// Arguments, environment and number of a dyno's process.
#[derive(Debug, Clone)]
pub struct GuestProcess {
    arguments: Arc<[String]>,
    environ: Arc<[(String, String)]>,
    extra: Option<(String, String)>,
    pid: u32,
    born: SystemTime,
}

impl GuestProcess {
    /// Creates a process of a release that was booted at `born`, the time that all files show.
    pub fn new(
        arguments: Arc<[String]>,
        environ: Arc<[(String, String)]>,
        born: SystemTime,
    ) -> Self {
        let pid = NEXT_PID.fetch_add(1, Ordering::Relaxed).max(2);
        Self {
            arguments,
            environ,
            extra: None,
            pid,
            born,
        }
    }

    /// Adds one variable, such as `DYNO`.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: String) -> Self {
        self.extra = Some((name.to_owned(), value));
        self
    }

    /// Returns the command and its arguments.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        self.arguments.iter().map(String::as_str)
    }

    /// Returns the environment.
    pub fn environ(&self) -> impl Iterator<Item = (&str, &str)> {
        let extra = self.extra.iter();
        extra
            .chain(self.environ.iter())
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn born(&self) -> SystemTime {
        self.born
    }

    /// Returns the content of `/proc/self/environ` (proc(5)).
    pub(super) fn environ_file(&self) -> Vec<u8> {
        let mut file = Vec::new();
        for (name, value) in self.environ() {
            file.extend_from_slice(name.as_bytes());
            file.push(b'=');
            file.extend_from_slice(value.as_bytes());
            file.push(0);
        }
        file
    }

    /// Returns the record that a restored dyno reads: its number and its environment
    /// ([`corundum_abi::exports::RESTORE`]).
    pub(crate) fn restore_record(&self) -> Vec<u8> {
        let mut record = self.pid.to_string().into_bytes();
        record.push(0);
        record.extend(self.environ_file());
        record.push(0);
        record
    }

    /// Returns the content of `/proc/self/cmdline` (proc(5)).
    pub(super) fn cmdline_file(&self) -> Vec<u8> {
        self.arguments()
            .flat_map(|argument| argument.bytes().chain([0]))
            .collect()
    }

    /// Returns the content of `/proc/self/stat`: number, command name, state and parent. The other fields of proc(5) are
    /// missing.
    pub(super) fn stat_file(&self) -> Vec<u8> {
        format!("{} (dyno) R 0\n", self.pid).into_bytes()
    }
}

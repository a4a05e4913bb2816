//! What `/proc/self` tells a guest of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

/// A new number for each dyno of this node, never 0 or 1, so that libraries which compare process numbers after a
/// fork see a new one.
static NEXT_PID: AtomicU32 = AtomicU32::new(2);

/// A dyno's arguments, environment and number.
#[derive(Debug, Clone)]
pub struct Process {
    arguments: Arc<[String]>,
    environ: Arc<[(String, String)]>,
    extra: Option<(String, String)>,
    pid: u32,
    born: SystemTime,
}

impl Process {
    /// A process with these arguments and this environment, in a release made at `born` (the time its files show).
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

    /// The same with one more variable, as `DYNO`.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: String) -> Self {
        self.extra = Some((name.to_owned(), value));
        self
    }

    /// The command and its arguments.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        self.arguments.iter().map(String::as_str)
    }

    /// The environment.
    pub fn environ(&self) -> impl Iterator<Item = (&str, &str)> {
        let extra = self.extra.iter();
        extra
            .chain(self.environ.iter())
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn born(&self) -> SystemTime {
        self.born
    }

    /// `/proc/self/environ`, as proc(5) has it.
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

    /// What a dyno is told when it wakes: its number, its environment.
    pub(crate) fn restore_record(&self) -> Vec<u8> {
        let mut record = self.pid.to_string().into_bytes();
        record.push(0);
        record.extend(self.environ_file());
        record.push(0);
        record
    }

    /// `/proc/self/cmdline`, as proc(5) has it.
    pub(super) fn cmdline_file(&self) -> Vec<u8> {
        self.arguments()
            .flat_map(|argument| argument.bytes().chain([0]))
            .collect()
    }

    /// `/proc/self/stat`: the number, the command's name and the state; proc(5)'s further fields are left out.
    pub(super) fn stat_file(&self) -> Vec<u8> {
        format!("{} (dyno) R\n", self.pid).into_bytes()
    }
}

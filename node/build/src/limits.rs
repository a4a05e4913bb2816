//! Resource limits of the build process, and the niceness of all work that must not delay the router.
//!
//! A build that somebody waits for keeps a share of the processors for a while, even if requests saturate them.

use std::io;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, nice, setpriority_process, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::slots::BuildUrgency;

/// Niceness of threads that compute for long: dynos that do, and builds.
///
/// Measured with eight dynos that loop on two processors: the 99th percentile of a neighbour's response time was 4 ms
/// at niceness 5, 2 to 4 ms at 10, and below 2 ms at 15, which is about the time without those dynos.
pub const BACKGROUND_NICENESS: i32 = 15;

/// Niceness of a build that somebody waits for.
///
/// The kernel gives a thread at niceness 0 three times as much of a processor as one at niceness 5, and thirty times as
/// much as one at niceness 15. With a router that saturates all processors, changing a config var took 4.2 s at 15.
const AWAITED_NICENESS: i32 = 5;

/// Processor time after which a build computes at [`BACKGROUND_NICENESS`] even if somebody waits for it: several times
/// that of a build of some gems, so that a build that loops cannot slow requests down for long.
const AWAITED_CPU: Duration = Duration::from_secs(20);

/// Interval between two looks at the processor time.
const CPU_CHECK: Duration = Duration::from_secs(1);

/// Preference of the kernel for ending a build when memory runs out, rather than the node with all apps (proc(5)).
const OOM_SCORE: &str = "500";

/// Seconds of processor time besides the Gemfile's and the boot's.
const CPU_SECONDS: u64 = 60;
/// Bytes of one file that the build may write.
const FILE_BYTES: u64 = 2 << 30;
/// Open files.
const OPEN_FILES: u64 = 256;

/// Limits of a build that an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildLimits {
    /// Time for the app to load, and for its Gemfile to be evaluated.
    pub boot: Duration,
    /// Bytes of a slug.
    pub slug: u64,
    /// Bytes of memory: a dyno's, its image while the build writes it, and the program itself.
    pub memory: u64,
}

impl Default for BuildLimits {
    /// Returns Heroku's limits: 60 s to boot and 500 MB of slug. Memory is for the largest dynos.
    fn default() -> Self {
        Self {
            boot: Duration::from_secs(60),
            slug: 500 << 20,
            memory: 3 << 30,
        }
    }
}

/// Limits the current process for its remaining life.
///
/// # Errors
///
/// The kernel rejects a limit, for example because the process already has a lower one.
pub(crate) fn apply(limits: BuildLimits, urgency: BuildUrgency) -> io::Result<()> {
    let set = |resource, value: u64| {
        let limit = Rlimit {
            current: Some(value),
            maximum: Some(value),
        };
        setrlimit(resource, limit)
    };
    // The Gemfile and the boot may each use their whole time.
    set(Resource::Cpu, CPU_SECONDS + 2 * limits.boot.as_secs())?;
    // A build that keeps the node's own niceness is slower for others, but correct.
    match urgency {
        BuildUrgency::Awaited => {
            let _ = nice(AWAITED_NICENESS);
            yield_after_awaited_time();
        }
        BuildUrgency::Background => drop(nice(BACKGROUND_NICENESS)),
    }
    // A build that the kernel prefers no more than others is still limited.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    set(Resource::Data, limits.memory)?;
    set(Resource::Fsize, FILE_BYTES)?;
    set(Resource::Nofile, OPEN_FILES)?;
    set(Resource::Core, 0)?;
    Ok(())
}

/// Starts a thread that lowers the priority of the whole process once it has used [`AWAITED_CPU`].
fn yield_after_awaited_time() {
    // Without the thread the build keeps its niceness, and its processor time is limited.
    let _ = std::thread::Builder::new().spawn(|| {
        while cpu_time() < AWAITED_CPU {
            std::thread::sleep(CPU_CHECK);
        }
        loop {
            lower_threads();
            // A thread that another one started meanwhile has the old niceness.
            std::thread::sleep(CPU_CHECK);
        }
    });
}

/// Returns the processor time of this process.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::from_secs(time.tv_sec.try_into().unwrap_or_default())
}

/// Gives all threads of this process the niceness of background work. Linux has one for each thread.
fn lower_threads() {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    for thread in threads.flatten() {
        let number = thread.file_name().to_string_lossy().parse();
        if let Some(thread) = number.ok().and_then(Pid::from_raw) {
            let _ = setpriority_process(Some(thread), BACKGROUND_NICENESS);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;
    use rustix::thread::gettid;

    use super::*;

    /// Runs in a process of its own, whose niceness it changes.
    #[test]
    #[ignore = "all_threads_of_a_long_build_yield runs it"]
    fn process_that_yields() {
        let (told, knows) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            told.send(gettid()).unwrap();
            let _ = ended.recv();
        });
        let threads = [gettid(), knows.recv().unwrap()];
        nice(AWAITED_NICENESS).unwrap();
        lower_threads();
        for thread in threads {
            assert_eq!(
                getpriority_process(Some(thread)).unwrap(),
                BACKGROUND_NICENESS
            );
        }
        drop(end);
        other.join().unwrap();
    }

    #[test]
    fn all_threads_of_a_long_build_yield() {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "limits::tests::process_that_yields", "--ignored"]);
        let output = child.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    }
}

//! Resource limits of the build process, and the niceness of all work that must not delay the router.

use std::io;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, nice, setrlimit};
use serde::{Deserialize, Serialize};

/// Niceness of threads that compute for long: dynos that do, and builds.
///
/// Measured with eight dynos that loop on two processors: the 99th percentile of a neighbour's response time was 4 ms
/// at niceness 5, 2 to 4 ms at 10, and below 2 ms at 15, which is about the time without those dynos.
pub const BACKGROUND_NICENESS: i32 = 15;

/// Seconds of processor time besides the Gemfile's and the boot's.
const CPU_SECONDS: u64 = 60;
/// Bytes of memory: a dyno's, its image while the build writes it, and the program itself.
const DATA_BYTES: u64 = 3 << 30;
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
}

impl Default for BuildLimits {
    /// Returns Heroku's limits: 60 s to boot and 500 MB of slug.
    fn default() -> Self {
        Self {
            boot: Duration::from_secs(60),
            slug: 500 << 20,
        }
    }
}

/// Limits the current process for its remaining life.
///
/// # Errors
///
/// The kernel rejects a limit, for example because the process already has a lower one.
pub(crate) fn apply(limits: BuildLimits) -> io::Result<()> {
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
    let _ = nice(BACKGROUND_NICENESS);
    set(Resource::Data, DATA_BYTES)?;
    set(Resource::Fsize, FILE_BYTES)?;
    set(Resource::Nofile, OPEN_FILES)?;
    set(Resource::Core, 0)?;
    Ok(())
}

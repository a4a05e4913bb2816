//! Names of the functions that a guest exports.

/// Initializes the reactor; run once when a pack is prepared.
pub const INITIALIZE: &str = "_initialize";
/// Loads the app in `/app`; run once while a release is made. A result of 0 means that the dyno is ready for its
/// snapshot. Descriptor 0 may hold sample requests, each delivered by separate reads: a guest may serve them to fill
/// its caches.
pub const BOOT: &str = "dyno_boot";
/// Prepares a new dyno; run once in each before its first request. Descriptor 0 holds the dyno's own state: its process
/// number, a NUL, its environment in the format of `/proc/self/environ`, and another NUL.
pub const RESTORE: &str = "dyno_restore";
/// Serves a request; run once per request. A result of 0 means that the request was served, [`SERVED_WITH_THREADS`] that
/// the host should also call [`IDLE`].
pub const HANDLE: &str = "dyno_handle";
/// Result of [`HANDLE`]: the request was served, and threads of the guest want to run before the next one.
pub const SERVED_WITH_THREADS: i32 = -1;
/// Lets the guest's threads run between two requests, at most for a time slice; optional. Type `[] -> [i64]`. The result is
/// the number of nanoseconds after which the host should call it again, -1 if never before the next request, or
/// [`IDLE_FAILED`].
pub const IDLE: &str = "dyno_idle";
/// Result of [`IDLE`]: the dyno must end; its log has the reason.
pub const IDLE_FAILED: i64 = -2;
/// Runs a command, in place of [`BOOT`], [`RESTORE`] and [`HANDLE`]; the result is its exit status. The descriptors 0 to 2
/// are its standard streams. A guest may import functions of the module `console` to receive signals and to control its
/// terminal.
pub const RUN: &str = "dyno_run";
/// Returns the address of a byte in memory; optional, run once when a pack is prepared. The host sets the byte's lowest
/// bit whenever it ends a time slice, so that a guest can enforce deadlines while it computes. A guest that also exports
/// [`INTERRUPT_OFFSET`] returns the address of a pointer instead.
pub const INTERRUPT: &str = "dyno_interrupt";
/// Returns the offset of the byte from the pointer that [`INTERRUPT`] names; optional. A guest uses it if each of its
/// fibers has a byte of its own: the pointer then points to the state of the running fiber.
pub const INTERRUPT_OFFSET: &str = "dyno_interrupt_offset";

/// Optional: its presence says that the guest reads requests from descriptor 0 and writes responses to descriptor 1, since
/// its runtime cannot use [`crate::EXCHANGE_DESCRIPTOR`]. Its type does not matter, and the host never calls it.
pub const STANDARD_STREAMS: &str = "dyno_standard_streams";

//! The time slice that the kernel gives a thread.

use std::io;
use std::time::Duration;

/// Sets how long the calling thread may run before the kernel lets another one run (sched_setattr(2), `sched_runtime` of
/// SCHED_OTHER).
///
/// A thread with a short slice does not run more or less often, but it runs soon after it has become ready: it interrupts
/// a thread with a longer one. Kernels before 6.12 ignore this.
///
/// # Errors
///
/// Fails if the kernel does not know the call, or if a filter forbids it.
pub fn set_time_slice(slice: Duration) -> io::Result<()> {
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER.cast_unsigned(),
        sched_flags: 0,
        sched_nice: rustix::process::getpriority_process(None)?,
        sched_priority: 0,
        sched_runtime: slice.as_nanos() as u64,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel reads as many bytes of the structure as its first field says, and changes only this thread.
    match unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_slice_of_the_thread_is_set_and_its_priority_stays() {
        let before = rustix::process::getpriority_process(None).unwrap();
        if let Err(error) = set_time_slice(Duration::from_micros(300)) {
            // A filter of system calls may forbid it.
            assert!(
                matches!(
                    error.raw_os_error(),
                    Some(libc::EPERM | libc::ENOSYS | libc::E2BIG)
                ),
                "{error}"
            );
        }
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), before);
    }
}

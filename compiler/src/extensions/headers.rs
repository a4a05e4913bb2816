//! Headers that stand before the C library's.
//!
//! The compiler's headers are those of a C library for many systems. Scripts take the presence of some of them for that of the
//! functions, so that a build would choose what cannot be linked. Others lack functions that do nothing in a dyno, and that code
//! for Linux calls without asking.

use std::fs;
use std::io;
use std::path::Path;

/// Headers whose functions the sandbox lacks.
const ABSENT: [&str; 24] = [
    "aio.h",
    "mqueue.h",
    "pty.h",
    "semaphore.h",
    "spawn.h",
    "sys/epoll.h",
    "sys/eventfd.h",
    "sys/fanotify.h",
    "sys/inotify.h",
    "sys/io.h",
    "sys/ipc.h",
    "sys/klog.h",
    "sys/mount.h",
    "sys/msg.h",
    "sys/personality.h",
    "sys/prctl.h",
    "sys/ptrace.h",
    "sys/reboot.h",
    "sys/sem.h",
    "sys/sendfile.h",
    "sys/shm.h",
    "sys/signalfd.h",
    "sys/timerfd.h",
    "threads.h",
];

/// Headers that add functions to those of the same name in the C library.
const ADDED: [(&str, &str); 2] = [
    ("signal.h", include_str!("headers/signal.h")),
    ("sys/resource.h", include_str!("headers/resource.h")),
];

/// Writes the headers into `folder`, in which the compiler looks first.
pub(super) fn write(folder: &Path) -> io::Result<()> {
    for name in ABSENT {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, format!("#error \"a dyno has no {name}\"\n"))?;
    }
    for (name, text) in ADDED {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

//! Files of `/proc` that libraries read to learn about the machine: a dyno has one processor.

use std::fmt::Write;

use super::clocks::monotonic_now;
use super::node::Proc;
use super::tree::{Filesystem, USER};

/// Bytes of a page.
const PAGE: usize = 4096;

/// Returns the content of a file of `/proc`; `None` for a directory.
pub(super) fn content(filesystem: &Filesystem, file: Proc) -> Option<Vec<u8>> {
    let process = filesystem.process();
    let held = filesystem.account().held();
    let text = match file {
        Proc::Directory | Proc::SelfDirectory => return None,
        Proc::Environ => return Some(process.environ_file()),
        Proc::Cmdline => return Some(process.cmdline_file()),
        Proc::Stat => return Some(process.stat_file()),
        Proc::Statm => format!("{0} {0} 0 0 0 {0} 0\n", held.div_ceil(PAGE)),
        Proc::Status => {
            let pid = process.pid();
            let kilobytes = held >> 10;
            format!(
                "Name:\tdyno\nUmask:\t0022\nState:\tR (running)\nTgid:\t{pid}\nPid:\t{pid}\nPPid:\t0\n\
                 Uid:\t{USER}\t{USER}\t{USER}\t{USER}\nGid:\t{USER}\t{USER}\t{USER}\t{USER}\n\
                 VmSize:\t{kilobytes} kB\nVmRSS:\t{kilobytes} kB\nThreads:\t1\nCpus_allowed:\t1\nCpus_allowed_list:\t0\n"
            )
        }
        Proc::Cpuinfo => {
            let mut text = String::new();
            for (name, value) in [
                ("processor", "0"),
                ("model name", "WebAssembly"),
                ("physical id", "0"),
                ("siblings", "1"),
                ("core id", "0"),
                ("cpu cores", "1"),
            ] {
                let _ = writeln!(text, "{name}\t: {value}");
            }
            text.push('\n');
            text
        }
        Proc::Uptime => {
            let hundredths = monotonic_now() / 10_000_000;
            format!("{}.{:02} 0.00\n", hundredths / 100, hundredths % 100)
        }
    };
    Some(text.into_bytes())
}

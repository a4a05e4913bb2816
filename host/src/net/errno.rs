//! Errors of the kernel's sockets as WASI's.

use rustix::io::Errno as KernelErrno;
use wasi_common::snapshots::preview_1::types::Errno;

/// Returns WASI's number of an error of the kernel.
pub(super) fn of_kernel(error: KernelErrno) -> Errno {
    match error {
        KernelErrno::ACCESS | KernelErrno::PERM => Errno::Acces,
        KernelErrno::ADDRINUSE => Errno::Addrinuse,
        KernelErrno::ADDRNOTAVAIL => Errno::Addrnotavail,
        KernelErrno::AFNOSUPPORT => Errno::Afnosupport,
        KernelErrno::AGAIN => Errno::Again,
        KernelErrno::ALREADY => Errno::Already,
        KernelErrno::CONNABORTED => Errno::Connaborted,
        KernelErrno::CONNREFUSED => Errno::Connrefused,
        KernelErrno::CONNRESET => Errno::Connreset,
        KernelErrno::DESTADDRREQ => Errno::Destaddrreq,
        KernelErrno::HOSTDOWN | KernelErrno::HOSTUNREACH => Errno::Hostunreach,
        KernelErrno::INPROGRESS => Errno::Inprogress,
        KernelErrno::INTR => Errno::Intr,
        KernelErrno::INVAL => Errno::Inval,
        KernelErrno::ISCONN => Errno::Isconn,
        KernelErrno::MFILE | KernelErrno::NFILE => Errno::Nfile,
        KernelErrno::MSGSIZE => Errno::Msgsize,
        KernelErrno::NETDOWN => Errno::Netdown,
        KernelErrno::NETRESET => Errno::Netreset,
        KernelErrno::NETUNREACH => Errno::Netunreach,
        KernelErrno::NOBUFS | KernelErrno::NOMEM => Errno::Nobufs,
        KernelErrno::NOPROTOOPT => Errno::Noprotoopt,
        KernelErrno::NOTCONN => Errno::Notconn,
        KernelErrno::OPNOTSUPP => Errno::Notsup,
        KernelErrno::PIPE => Errno::Pipe,
        KernelErrno::TIMEDOUT => Errno::Timedout,
        _ => Errno::Io,
    }
}

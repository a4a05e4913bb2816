//! Errors of the host's filesystem as WASI's.

use rustix::io::Errno as KernelErrno;
use wasi_common::snapshots::preview_1::types::Errno;

/// Returns WASI's number of an error of the kernel.
pub(crate) fn of_kernel(error: KernelErrno) -> Errno {
    match error {
        KernelErrno::ACCESS => Errno::Acces,
        KernelErrno::AGAIN => Errno::Again,
        KernelErrno::BADF => Errno::Badf,
        KernelErrno::BUSY => Errno::Busy,
        KernelErrno::DEADLK => Errno::Deadlk,
        // The operator's quota of the filesystem is as final as the end of the disk.
        KernelErrno::DQUOT | KernelErrno::NOSPC => Errno::Nospc,
        KernelErrno::EXIST => Errno::Exist,
        KernelErrno::FBIG => Errno::Fbig,
        KernelErrno::INTR => Errno::Intr,
        KernelErrno::INVAL => Errno::Inval,
        KernelErrno::ISDIR => Errno::Isdir,
        KernelErrno::LOOP => Errno::Loop,
        KernelErrno::MFILE | KernelErrno::NFILE => Errno::Nfile,
        KernelErrno::MLINK => Errno::Mlink,
        KernelErrno::NAMETOOLONG => Errno::Nametoolong,
        KernelErrno::NOENT => Errno::Noent,
        KernelErrno::NOLCK => Errno::Nolck,
        KernelErrno::NOMEM => Errno::Nomem,
        KernelErrno::NOTDIR => Errno::Notdir,
        KernelErrno::NOTEMPTY => Errno::Notempty,
        KernelErrno::NOTSUP => Errno::Notsup,
        KernelErrno::PERM => Errno::Perm,
        KernelErrno::ROFS => Errno::Rofs,
        KernelErrno::XDEV => Errno::Xdev,
        _ => Errno::Io,
    }
}

/// Returns WASI's number of an error of the standard library.
pub(crate) fn of_io(error: &std::io::Error) -> Errno {
    KernelErrno::from_io_error(error).map_or(Errno::Io, of_kernel)
}

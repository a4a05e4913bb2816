//! A backup's request for the copy of a volume: only the node that runs can hold the writes of dynos.
//!
//! The backup's process connects to a socket in the data directory, which only the node's user can enter, and writes the name of
//! an app. The node ([`copies`](crate::volumes::copies)) copies the app's volume into the folder of the backup, and answers one
//! line: `ok`, or the problem.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use corundum_abi::names::AppName;

/// Bytes of a request or of an answer.
pub(crate) const MAX_LINE: u64 = 1024;

/// The time for a copy.
const COPY: Duration = Duration::from_secs(60 * 60);

/// Returns the path of the socket in a data directory.
pub(crate) fn socket_path(data: &Path) -> PathBuf {
    data.join("backup.sock")
}

/// Has the node that runs on the data directory copy the volume of an app into the folder of the backup. Blocks.
///
/// # Errors
///
/// The node does not answer, or cannot copy.
pub(super) fn request(data: &Path, app: &AppName) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket_path(data)).map_err(|error| {
        io::Error::other(format!(
            "the node that runs does not copy volumes ({error}): try again when it has started"
        ))
    })?;
    stream.set_read_timeout(Some(COPY))?;
    stream.write_all(format!("{app}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_LINE)).read_line(&mut answer)?;
    match answer.trim_end() {
        "ok" => Ok(()),
        "" => Err(io::Error::other(
            "the node was stopped meanwhile: try again",
        )),
        problem => Err(io::Error::other(problem.to_owned())),
    }
}

//! What the node tells systemd, by the protocol of sd_notify(3): that it is ready, and which process it is now, since a
//! takeover changes that.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Says that this process is the node, and serves. Does nothing where nobody asked to be told.
pub(crate) fn ready() {
    let Ok(path) = std::env::var("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = tell(&path) {
        tracing::warn!(%error, "the supervisor cannot be told that the node is ready");
    }
}

fn tell(path: &str) -> std::io::Result<()> {
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    let words = format!("READY=1\nMAINPID={}\n", std::process::id());
    let sent = UnixDatagram::unbound()?.send_to_addr(words.as_bytes(), &address);
    sent.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_supervisor_learns_which_process_is_the_node() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        tell(path.to_str().unwrap()).unwrap();
        let mut words = [0; 100];
        let length = socket.recv(&mut words).unwrap();
        let words = std::str::from_utf8(&words[..length]).unwrap();
        assert_eq!(words, format!("READY=1\nMAINPID={}\n", std::process::id()));
    }
}

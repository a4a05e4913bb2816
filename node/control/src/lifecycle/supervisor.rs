//! Notifications to systemd by the protocol of sd_notify(3).

use sd_notify::NotifyState;

/// Reports that this process serves, and that it is the service's main process, which a takeover changes. Does nothing
/// without a supervisor.
pub fn notify_ready() {
    let states = [NotifyState::Ready, NotifyState::MainPid(std::process::id())];
    if let Err(error) = sd_notify::notify(&states) {
        tracing::warn!(%error, "could not notify the supervisor");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    use super::*;

    /// Runs in a process of its own, whose environment names the supervisor.
    #[test]
    #[ignore = "supervisor_learns_the_main_process runs it"]
    fn child_of_the_supervisor() {
        notify_ready();
    }

    #[test]
    fn supervisor_learns_the_main_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let child = "lifecycle::supervisor::tests::child_of_the_supervisor";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", child, "--ignored"])
            .env("NOTIFY_SOCKET", &path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let timeout = std::time::Duration::from_secs(30);
        socket.set_read_timeout(Some(timeout)).unwrap();
        let mut message = [0; 100];
        let length = socket.recv(&mut message).unwrap();
        let message = std::str::from_utf8(&message[..length]).unwrap();
        assert_eq!(message, format!("READY=1\nMAINPID={}\n", child.id()));
        assert!(child.wait().unwrap().success());
    }
}

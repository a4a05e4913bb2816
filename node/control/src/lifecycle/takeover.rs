//! A restart without a refused connection: a new process takes the listening sockets over from the old one.
//!
//! 1. The new process connects to a socket in the data directory, which only its owner can reach.
//! 2. The old process accepts no further builds and pushes, waits for those in progress, unlocks the data directory and sends
//!    its listening sockets. It serves apps from memory meanwhile, and its API answers until the directory is unlocked.
//! 3. The new process loads all apps, accepts connections, and says so.
//! 4. The old process closes its connections and ends.
//!
//! If the new process dies before step 3, the old one locks the data directory again and goes on. Connections that are not
//! accepted yet wait in the kernel, since both processes share the sockets.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::net::UnixListener;

use super::listeners::Listeners;

/// The most sockets in a message.
const MAX_SOCKETS: usize = 4;
/// The time for builds and pushes to end before a takeover.
pub(super) const QUIET: Duration = Duration::from_secs(60);
/// The time for the new process to load all apps. Images that must be made again take seconds each.
const LOADING: Duration = Duration::from_secs(600);
/// The new process's message that it serves.
const SERVING: &[u8] = b"serving\n";

/// The message in place of sockets of a node that cannot be taken over now.
const BUSY: &[u8] = b"busy";

fn path(data: &Path) -> PathBuf {
    data.join("takeover.sock")
}

/// A takeover that failed.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// The running node does not answer.
    #[error("the node that runs does not answer: stop it, then start this one ({0})")]
    NoAnswer(io::Error),
    /// The running node has builds or pushes in progress.
    #[error("the node that runs is being pushed to: try again when that is done")]
    Busy,
    /// The running node sent no socket for a listener.
    #[error("the node that runs has sent no socket for {0}")]
    NoSocket(&'static str),
    /// The connection to the running node failed.
    #[error("takeover: {0}")]
    Io(#[from] io::Error),
}

/// The new process's side of a takeover: the old process waits for [`serving`](Self::serving).
pub struct Takeover(UnixStream);

impl Takeover {
    /// Takes the sockets over from the node that uses the data directory `data`, if one does. Blocks until that node has
    /// finished its builds.
    ///
    /// # Errors
    ///
    /// [`TakeoverError`].
    pub fn from_node(data: &Path) -> Result<Option<(Listeners, Self)>, TakeoverError> {
        let Ok(mut stream) = UnixStream::connect(path(data)) else {
            return Ok(None);
        };
        stream.set_read_timeout(Some(QUIET + Duration::from_secs(10)))?;
        // A busy node may have answered and closed the connection already; its answer can still be read.
        let _ = stream.write_all(b"?");
        let (names, sockets) = receive(&stream).map_err(TakeoverError::NoAnswer)?;
        if names == BUSY {
            return Err(TakeoverError::Busy);
        }
        let names = String::from_utf8_lossy(&names).into_owned();
        let mut named = names
            .split(' ')
            .zip(sockets.into_iter().map(TcpListener::from));
        let mut socket = |name: &'static str| {
            let next = named.next().filter(|(sent, _)| *sent == name);
            next.map(|(_, socket)| socket)
                .ok_or(TakeoverError::NoSocket(name))
        };
        let listeners = Listeners {
            http: socket("http")?,
            api: socket("api")?,
            admin: socket("admin")?,
            https: socket("https").ok(),
        };
        Ok(Some((listeners, Self(stream))))
    }

    /// Reports that this process serves. The old process ends.
    ///
    /// # Errors
    ///
    /// The old process has died.
    pub fn serving(mut self) -> io::Result<()> {
        self.0.write_all(SERVING)
    }
}

/// Listens for a process that wants to take over. To be called within a runtime.
pub(super) fn listen(data: &Path) -> io::Result<UnixListener> {
    let path = path(data);
    let _ = std::fs::remove_file(&path);
    UnixListener::bind(&path)
}

/// A process that wants to take over.
pub(super) struct Successor(UnixStream);

impl Successor {
    /// Waits for a process.
    pub(super) async fn arrival(listener: &UnixListener) -> io::Result<Self> {
        let (stream, _) = listener.accept().await?;
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(LOADING))?;
        Ok(Self(stream))
    }

    /// Returns a handle that ends the connection while [`hand_over`](Self::hand_over) waits.
    pub(super) fn disconnect(&self) -> io::Result<Disconnect> {
        self.0.try_clone().map(Disconnect)
    }

    /// Tells the process to try again later.
    pub(super) fn refuse(mut self) {
        let _ = self.0.write_all(BUSY);
    }

    /// Sends the sockets, waits until the process serves with them, and returns whether it does. Blocks.
    pub(super) fn hand_over(mut self, listeners: &Listeners) -> io::Result<bool> {
        let mut names = vec!["http", "api", "admin"];
        let mut sockets = vec![
            listeners.http.as_fd(),
            listeners.api.as_fd(),
            listeners.admin.as_fd(),
        ];
        if let Some(https) = &listeners.https {
            names.push("https");
            sockets.push(https.as_fd());
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&sockets));
        let text = names.join(" ");
        let text = [IoSlice::new(text.as_bytes())];
        sendmsg(&self.0, &text, &mut ancillary, SendFlags::empty())?;
        let mut reply = [0; 1 + SERVING.len()];
        // The process's request is still unread.
        self.0.read_exact(&mut reply)?;
        Ok(reply.ends_with(SERVING))
    }
}

/// A handle that ends the connection to a successor.
pub(super) struct Disconnect(UnixStream);

impl Disconnect {
    /// Ends the connection: the process cannot take over any more.
    pub(super) fn now(self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Receives a message with its sockets.
fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut text = [0; 256];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut text)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let sockets = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    let sockets = sockets.flatten().collect();
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((text[..received.bytes].to_vec(), sockets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listeners() -> Listeners {
        let open = || TcpListener::bind("127.0.0.1:0").unwrap();
        Listeners {
            http: open(),
            https: Some(open()),
            api: open(),
            admin: open(),
        }
    }

    #[tokio::test]
    async fn sockets_are_handed_over_and_the_old_process_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().to_owned();
        assert!(Takeover::from_node(&data).unwrap().is_none(), "no node");
        let listening = listen(&data).unwrap();
        let old = listeners();
        let address = old.https.as_ref().unwrap().local_addr().unwrap();
        let taking = std::thread::spawn(move || {
            let (new, takeover) = Takeover::from_node(&data).unwrap().unwrap();
            takeover.serving().unwrap();
            new.https.unwrap().local_addr().unwrap()
        });
        let successor = Successor::arrival(&listening).await.unwrap();
        let done = tokio::task::spawn_blocking(move || successor.hand_over(&old));
        assert!(done.await.unwrap().unwrap());
        assert_eq!(taking.join().unwrap(), address);
    }

    #[tokio::test]
    async fn dead_successor_is_noticed_and_busy_node_refuses() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().to_owned();
        let listening = listen(&data).unwrap();
        let path = data.clone();
        let dying = std::thread::spawn(move || drop(Takeover::from_node(&path).unwrap()));
        let successor = Successor::arrival(&listening).await.unwrap();
        let done = tokio::task::spawn_blocking(move || successor.hand_over(&listeners()));
        assert!(done.await.unwrap().is_err());
        dying.join().unwrap();
        let refused = std::thread::spawn(move || Takeover::from_node(&data).err().unwrap());
        Successor::arrival(&listening).await.unwrap().refuse();
        let text = refused.join().unwrap().to_string();
        assert!(text.contains("is being pushed to"), "{text}");
    }
}

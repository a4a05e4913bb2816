//! A restart without a dropped connection: the new process takes the listening sockets over from the old one.
//!
//! The new process asks over a socket in the data directory, which nobody else can reach. The old one first lets builds and
//! pushes end and takes no new ones, then gives up the data directory and sends its sockets; it goes on serving apps from
//! memory. When the new process has loaded all apps and accepts, it says so, and the old one lets its connections end.
//! Should the new process die before, the old one takes everything back and goes on as if nothing had been. Connections
//! that are not accepted yet wait in the kernel for whoever accepts next: the sockets are the same.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::net::UnixListener;

use crate::lifecycle::listeners::Listeners;

/// Sockets that are sent at most.
const SOCKETS: usize = 4;
/// For builds and pushes to end before a node is given up.
pub(crate) const QUIET: Duration = Duration::from_secs(60);
/// For the new process to load all apps. Images that must be made anew take seconds each.
const LOADING: Duration = Duration::from_secs(600);
/// The new process's word that it serves.
const SERVING: &[u8] = b"serving\n";

/// What is sent in place of sockets by a node that cannot be taken over now.
const BUSY: &[u8] = b"busy";

fn path(data: &Path) -> PathBuf {
    data.join("takeover.sock")
}

/// The new process's side: it has the sockets, and is waited for.
pub(crate) struct Taken(UnixStream);

impl Taken {
    /// Takes the sockets over from the node that uses `data`, if one does. Blocks until it has let builds end.
    ///
    /// # Errors
    ///
    /// The node does not give itself up.
    pub(crate) fn from_node(data: &Path) -> anyhow::Result<Option<(Listeners, Self)>> {
        let Ok(mut stream) = UnixStream::connect(path(data)) else {
            return Ok(None);
        };
        stream.set_read_timeout(Some(QUIET + Duration::from_secs(10)))?;
        // A busy node may have answered and hung up before it was asked: then its answer can be read all the same.
        let _ = stream.write_all(b"?");
        let (words, sockets) = receive(&stream)
            .context("the node that runs does not answer: stop it, then start this one")?;
        if words == BUSY {
            bail!("the node that runs is being pushed to: try again when that is done");
        }
        let names = String::from_utf8(words)?;
        let mut named = names
            .split(' ')
            .zip(sockets.into_iter().map(TcpListener::from));
        let mut socket = |name: &str| {
            let next = named.next().filter(|(sent, _)| *sent == name);
            next.map(|(_, socket)| socket)
                .with_context(|| format!("the node that runs has sent no socket for {name}"))
        };
        let listeners = Listeners {
            http: socket("http")?,
            api: socket("api")?,
            admin: socket("admin")?,
            https: socket("https").ok(),
        };
        Ok(Some((listeners, Self(stream))))
    }

    /// Says that this process serves: the other one ends.
    pub(crate) fn serving(mut self) -> std::io::Result<()> {
        self.0.write_all(SERVING)
    }
}

/// Listens for a process that wants to take over. To be called within a runtime.
pub(crate) fn listen(data: &Path) -> anyhow::Result<UnixListener> {
    let path = path(data);
    let _ = std::fs::remove_file(&path);
    UnixListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))
}

/// A process that wants to take over.
pub(crate) struct Successor(UnixStream);

impl Successor {
    /// Waits for one.
    pub(crate) async fn arrival(listener: &UnixListener) -> std::io::Result<Self> {
        let (stream, _) = listener.accept().await?;
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(LOADING))?;
        Ok(Self(stream))
    }

    /// Says that it must wait.
    pub(crate) fn refuse(mut self) {
        let _ = self.0.write_all(BUSY);
    }

    /// Sends the sockets and waits until the process serves with them; whether it does. Blocks.
    pub(crate) fn hand_over(mut self, listeners: &Listeners) -> std::io::Result<bool> {
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
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&sockets));
        let words = names.join(" ");
        let words = [IoSlice::new(words.as_bytes())];
        sendmsg(&self.0, &words, &mut ancillary, SendFlags::empty())?;
        let mut said = [0; 1 + SERVING.len()];
        // The process's question is still unread.
        self.0.read_exact(&mut said)?;
        Ok(said.ends_with(SERVING))
    }
}

fn receive(stream: &UnixStream) -> anyhow::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut words = [0; 256];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut words)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let sockets = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    let sockets = sockets.flatten().collect();
    anyhow::ensure!(received.bytes > 0, "it closed the connection");
    Ok((words[..received.bytes].to_vec(), sockets))
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
    async fn sockets_change_hands_and_the_old_process_hears_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().to_owned();
        assert!(Taken::from_node(&data).unwrap().is_none(), "nobody there");
        let listening = listen(&data).unwrap();
        let old = listeners();
        let address = old.https.as_ref().unwrap().local_addr().unwrap();
        let taking = std::thread::spawn(move || {
            let (new, taken) = Taken::from_node(&data).unwrap().unwrap();
            taken.serving().unwrap();
            new.https.unwrap().local_addr().unwrap()
        });
        let successor = Successor::arrival(&listening).await.unwrap();
        let done = tokio::task::spawn_blocking(move || successor.hand_over(&old));
        assert!(done.await.unwrap().unwrap());
        assert_eq!(taking.join().unwrap(), address);
    }

    #[tokio::test]
    async fn a_process_that_dies_before_it_serves_is_noticed_and_a_busy_node_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().to_owned();
        let listening = listen(&data).unwrap();
        let path = data.clone();
        let dying = std::thread::spawn(move || drop(Taken::from_node(&path).unwrap()));
        let successor = Successor::arrival(&listening).await.unwrap();
        let done = tokio::task::spawn_blocking(move || successor.hand_over(&listeners()));
        assert!(done.await.unwrap().is_err());
        dying.join().unwrap();
        let refused = std::thread::spawn(move || Taken::from_node(&data).err().unwrap());
        Successor::arrival(&listening).await.unwrap().refuse();
        let words = refused.join().unwrap().to_string();
        assert!(words.contains("is being pushed to"), "{words}");
    }
}

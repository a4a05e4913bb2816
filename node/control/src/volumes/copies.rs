//! Copies of volumes for a backup, which another process makes and asks for over a socket in the data directory.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use corundum_abi::names::AppName;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Volumes;
use crate::data_dir::{BACKUP_STAGE, DataDir};
use crate::storage::volume_copies::{MAX_LINE, socket_path};

/// The time for a request to arrive.
const REQUEST: Duration = Duration::from_secs(10);

/// Copies volumes for backups until the task is aborted.
pub(crate) async fn serve(data: Arc<DataDir>, volumes: Arc<Volumes>) {
    let path = socket_path(data.path());
    let _ = std::fs::remove_file(&path);
    let listener = match UnixListener::bind(&path) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "backups of this node will lack volumes");
            return;
        }
    };
    // A copy keeps the disk busy, and there is one backup at a time.
    let places = Arc::new(Semaphore::new(2));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (data, volumes) = (data.clone(), volumes.clone());
                tokio::spawn(async move {
                    let _place = place;
                    if let Err(error) = answer(stream, &data, volumes).await {
                        tracing::warn!(%error, "could not copy a volume for a backup");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a backup");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn answer(mut stream: UnixStream, data: &DataDir, volumes: Arc<Volumes>) -> io::Result<()> {
    if stream.peer_cred()?.uid() != rustix::process::getuid().as_raw() {
        return Ok(());
    }
    let mut line = String::new();
    let (reader, _) = stream.split();
    let mut reader = BufReader::new(reader.take(MAX_LINE));
    timeout(REQUEST, reader.read_line(&mut line)).await??;
    let answer = match line.trim_end().parse::<AppName>() {
        Ok(app) => {
            let to = data
                .path()
                .join(BACKUP_STAGE)
                .join("volumes")
                .join(app.to_string());
            let copied = tokio::task::spawn_blocking(move || volumes.copy_to(&app, &to)).await;
            match copied.map_err(io::Error::other)? {
                Ok(()) => "ok".to_owned(),
                Err(error) => error.to_string().replace('\n', " "),
            }
        }
        Err(error) => error.to_string(),
    };
    stream.write_all(format!("{answer}\n").as_bytes()).await
}

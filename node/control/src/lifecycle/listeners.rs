//! The sockets that a node listens at. They are opened before anything else, so that a taken address is said at once, and
//! belong to no runtime until one accepts from them.

use std::net::{SocketAddr, TcpListener as StdListener};

use anyhow::Context;
use tokio::net::TcpListener;

use crate::config::NodeConfig as Settings;

/// Connections that the kernel keeps until they are accepted, if `net.core.somaxconn` allows it. The client of one too many
/// only tries again after a second.
const BACKLOG: i32 = 4096;

/// A node's listening sockets.
pub(crate) struct Listeners {
    /// The apps'.
    pub(crate) http: StdListener,
    /// The apps' for TLS.
    pub(crate) https: Option<StdListener>,
    /// The API's and git's.
    pub(crate) api: StdListener,
    /// The operator's.
    pub(crate) admin: StdListener,
}

impl Listeners {
    /// Opens all that the settings name. To be called within a runtime.
    ///
    /// # Errors
    ///
    /// An address that cannot be listened at, and the option that chooses another.
    pub(crate) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let https = match settings.https {
            Some(address) => Some(open(address, "--https").await?),
            None => None,
        };
        Ok(Self {
            https,
            http: open(settings.http, "--http").await?,
            api: open(settings.api, "--api").await?,
            admin: open(settings.admin, "--admin").await?,
        })
    }

    /// The same sockets once more.
    pub(crate) fn again(&self) -> std::io::Result<Self> {
        let https = self.https.as_ref().map(StdListener::try_clone);
        Ok(Self {
            http: self.http.try_clone()?,
            https: https.transpose()?,
            api: self.api.try_clone()?,
            admin: self.admin.try_clone()?,
        })
    }

    /// The settings with the addresses that the system has chosen where they left it to it.
    pub(crate) fn addresses(&self, settings: Settings) -> anyhow::Result<Settings> {
        let https = self.https.as_ref().map(StdListener::local_addr);
        Ok(Settings {
            https: https.transpose()?,
            http: self.http.local_addr()?,
            api: self.api.local_addr()?,
            admin: self.admin.local_addr()?,
            ..settings
        })
    }
}

async fn open(address: SocketAddr, option: &str) -> anyhow::Result<StdListener> {
    let listener = TcpListener::bind(address).await;
    let listener = listener
        .with_context(|| format!("cannot listen on {address} (choose another with {option})"))?;
    let listener = listener.into_std()?;
    // Tokio asks for 1,024.
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

//! Running a program of this machine, such as `psql`, on the server of an add-on, which only the node may reach: the program
//! connects to a port of this machine, and each of its connections goes through the node's API.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use corundum_api::addon_backup::TUNNEL_PROTOCOL;
use tokio::io::{AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::client::ApiClient;
use crate::upgrade::Upgraded;

/// Connections of the program at once.
const CONNECTIONS: usize = 32;

/// A program of this machine.
pub(crate) struct LocalProgram {
    /// The name, which is looked for in the search path.
    pub(crate) name: &'static str,
    /// Debian's package.
    pub(crate) package: &'static str,
    /// The arguments.
    pub(crate) arguments: Vec<String>,
    /// The environment, with passwords, which arguments would show to every user of the machine.
    pub(crate) environment: Vec<(&'static str, String)>,
}

/// Runs a program, and returns its exit status. `path` is the API's endpoint of the connections; `at_port` completes the
/// program with the port to connect to.
pub(crate) fn run(
    path: String,
    at_port: impl FnOnce(u16) -> LocalProgram,
) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let client = Arc::new(ApiClient::new());
        // A refusal of the node is better reported here than by the program.
        let first = client.upgrade(&path, TUNNEL_PROTOCOL).await?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let program = at_port(listener.local_addr()?.port());
        let mut child = match Command::new(program.name)
            .args(program.arguments)
            .envs(program.environment)
            .spawn()
        {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
                "{} is not installed on this machine: apt-get install {}",
                program.name,
                program.package
            ),
            Err(error) => return Err(error).context(program.name),
        };
        // The terminal sends ^C to the program as well, which decides what it means.
        let interrupts = async {
            while tokio::signal::ctrl_c().await.is_ok() {}
            std::future::pending::<()>().await;
        };
        tokio::select! {
            status = child.wait() => {
                let code = status?.code().unwrap_or(1);
                Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
            }
            failed = accept(&listener, client, path, first) => Err(failed),
            () = interrupts => bail!("interrupted"),
        }
    });
    runtime.shutdown_background();
    result
}

/// Connects each connection of the program with one to the server, until the listener fails.
async fn accept(
    listener: &TcpListener,
    client: Arc<ApiClient>,
    path: String,
    first: Upgraded,
) -> anyhow::Error {
    let mut first = Some(first);
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return anyhow::anyhow!("the tunnel was closed");
        };
        let program = match listener.accept().await {
            Ok((program, _)) => program,
            Err(error) => return error.into(),
        };
        let (client, path, ready) = (client.clone(), path.clone(), first.take());
        tokio::spawn(async move {
            let _place = place;
            let server = match ready {
                Some(ready) => Ok(ready),
                None => client.upgrade(&path, TUNNEL_PROTOCOL).await,
            };
            match server {
                Ok(server) => connect(program, server).await,
                Err(error) => eprintln!(" !     {error}"),
            }
        });
    }
}

/// Copies in both directions until both have ended.
async fn connect(mut program: TcpStream, mut server: Upgraded) {
    let _ = program.set_nodelay(true);
    let (mut from_program, mut to_program) = program.split();
    let there = async {
        let _ = copy(&mut from_program, &mut server.write).await;
        let _ = server.write.shutdown().await;
    };
    let back = async {
        let _ = copy(&mut server.read, &mut to_program).await;
        let _ = to_program.shutdown().await;
    };
    tokio::join!(there, back);
}

//! Apps on the network: requests that wait for another server, and the throughput of a connection.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use corundum_test_support::node::TestNode;
use corundum_test_support::ports::free_port;
use corundum_test_support::wait::wait_until;

use crate::machine::{median, on_core};
use crate::table::{Better, Row};
use crate::{LOAD, SERVERS};

/// The app, and the program that native Ruby runs.
const APP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/bench/apps/network");
/// Bytes of the stream, and of the file that TLS carries.
const STREAM: usize = 1 << 30;
const LARGE: usize = 64 << 20;
/// Time that the waiting requests may take beyond the second that each waits.
const SLACK: Duration = Duration::from_secs(29);

/// Names of the rows, in their order.
pub(crate) const NETWORK_ROWS: [&str; 5] = [
    "requests that wait 1 s, at once",
    "TCP stream of 1 GiB into a dyno",
    "TLS handshake",
    "TLS download, AES-256-GCM",
    "TLS download, ChaCha20",
];

/// Measures an app on the network, with `waiting` requests at once.
pub(crate) fn rows(node: &TestNode, rounds: usize, waiting: usize) -> Vec<Row> {
    let plain = PlainServer::start();
    let tls = TlsServer::start();
    let app = node.create("network");
    app.copy(APP);
    for port in [plain.port, tls.port] {
        let target = format!("tcp://127.0.0.1:{port}");
        node.cli(&["outbound:add", &target, "-a", "network"])
            .assert_success();
    }
    app.assert_pushed();
    let web = format!("web={waiting}");
    node.cli(&["ps:scale", &web, "-a", "network"])
        .assert_success();
    let answered = answered(node, plain.port, waiting);
    let mut rows = vec![Row {
        what: NETWORK_ROWS[0],
        unit: "",
        corundum: answered as f64,
        peer: None,
        at_least: Some(waiting as f64),
        better: Better::More,
    }];
    for (what, action, port, unit, better) in [
        (NETWORK_ROWS[1], "stream", plain.port, "MB/s", Better::More),
        (NETWORK_ROWS[2], "handshake", tls.port, "ms", Better::Less),
        (NETWORK_ROWS[3], "aes", tls.port, "MB/s", Better::More),
        (NETWORK_ROWS[4], "chacha", tls.port, "MB/s", Better::More),
    ] {
        let (mut ours, mut natives) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let (status, text) = node.get("network", &format!("/{port}/{action}"));
            assert_eq!(status, 200, "{text}");
            ours.push(text.trim().parse().unwrap());
            natives.push(on_core(SERVERS, || native(action, port)));
        }
        rows.push(Row {
            what,
            unit,
            corundum: median(&ours),
            peer: Some(("MRI", median(&natives))),
            at_least: None,
            better,
        });
    }
    rows
}

/// Sends requests at once that all wait for the server, and returns the number of those that are answered.
fn answered(node: &TestNode, port: u16, count: usize) -> usize {
    let path = format!("/{port}/wait");
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: network.localhost\r\nConnection: close\r\n\r\n");
    let deadline = Instant::now() + Duration::from_secs(1) + SLACK;
    let connections: Vec<TcpStream> = (0..count)
        .map(|_| {
            let mut connection = TcpStream::connect(("127.0.0.1", node.http())).unwrap();
            connection.write_all(request.as_bytes()).unwrap();
            connection
        })
        .collect();
    let is_answered = |mut connection: TcpStream| {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = left.max(Duration::from_millis(1));
        connection.set_read_timeout(Some(timeout)).ok()?;
        let mut response = String::new();
        connection.read_to_string(&mut response).ok()?;
        (response.starts_with("HTTP/1.1 200") && response.ends_with("done")).then_some(())
    };
    connections.into_iter().filter_map(is_answered).count()
}

/// Runs the client with native Ruby and returns the number that it prints.
fn native(action: &str, port: u16) -> f64 {
    let output = Command::new("ruby")
        .arg(Path::new(APP).join("client.rb"))
        .args([action, &port.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = text.trim().parse();
    text.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// A server of two commands: `wait` answers after a second, `send` with a long stream.
struct PlainServer {
    port: u16,
}

impl PlainServer {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 8192).unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            on_core(LOAD, || {
                runtime.block_on(async {
                    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                    while let Ok((connection, _)) = listener.accept().await {
                        tokio::spawn(serve(connection));
                    }
                });
            });
        });
        Self { port }
    }
}

async fn serve(mut connection: tokio::net::TcpStream) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut command = [0; 4];
    connection.read_exact(&mut command).await?;
    if &command == b"wait" {
        tokio::time::sleep(Duration::from_secs(1)).await;
        return connection.write_all(b"done").await;
    }
    let part = vec![b'x'; 1 << 18];
    for _ in 0..STREAM / part.len() {
        connection.write_all(&part).await?;
    }
    Ok(())
}

/// OpenSSL's own server of files, in a directory of its own. It ends when this is dropped.
struct TlsServer {
    process: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl TlsServer {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(directory.path().join("large")).unwrap();
        file.set_len(LARGE as u64).unwrap();
        let openssl = |arguments: &[&str]| {
            let mut command = Command::new("openssl");
            command
                .args(arguments)
                .current_dir(directory.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command
        };
        let made = openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
            "-subj",
            "/CN=localhost",
            "-days",
            "2",
        ])
        .status();
        assert!(made.unwrap().success());
        let port = free_port();
        let process = on_core(LOAD, || {
            let accept = format!("127.0.0.1:{port}");
            openssl(&[
                "s_server", "-accept", &accept, "-key", "key.pem", "-cert", "cert.pem", "-WWW",
                "-quiet",
            ])
            .spawn()
        });
        let server = Self {
            process: process.unwrap(),
            port,
            _directory: directory,
        };
        wait_until("the TLS server", Duration::from_secs(10), || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        server
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

//! The corpus against nginx, HAProxy and Apache, each as a proxy in front of a small server.
//!
//! The comparison is coarse: each request is served or refused, and no further request is served. The proxies are three
//! readings of the RFC; if two of them differ from the corpus, `differences.tsv` must have a reason.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::case::{AfterSending, ConnectionEnd, Http1Case};
use crate::cases;
use corundum_router_test_support::http1::{AnswerTo, NoResponse, ResponseReader};
use corundum_test_support::ports::free_address;
use corundum_test_support::process::{ChildProcess, is_installed};

/// Time to wait for a response. A proxy that waits for more bytes never answers.
const PATIENCE: Duration = Duration::from_millis(800);

const NAMES: [&str; 3] = ["nginx", "haproxy", "apache"];

#[tokio::test]
async fn cases_that_two_proxies_treat_differently_have_a_reason() {
    let programs = ["/usr/sbin/nginx", "/usr/sbin/haproxy", "/usr/sbin/apache2"];
    if !is_installed(&programs, "nginx haproxy apache2") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let origin = origin().await;
    let peers = [
        nginx(folder.path(), origin),
        haproxy(folder.path(), origin),
        apache(folder.path(), origin),
    ];
    let cases = cases::all();
    let asked = peers.iter().map(|(_, address)| outcomes(&cases, *address));
    let outcomes: Vec<_> = futures_util::future::join_all(asked).await;
    let reasons = reasons(&cases);
    let mut unexplained = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let theirs: Vec<&str> = outcomes.iter().map(|all| all[index].as_str()).collect();
        let others = theirs.iter().filter(|theirs| **theirs != expected(case));
        if others.count() >= 2 && !reasons.contains_key(case.name) {
            unexplained.push(format!(
                "{}\t{}\t{}",
                case.name,
                expected(case),
                theirs.join("\t")
            ));
        }
    }
    assert!(
        unexplained.is_empty(),
        "{} cases that two of {NAMES:?} treat differently have no reason in differences.tsv:\n{}",
        unexplained.len(),
        unexplained.join("\n")
    );
}

/// Reads the reasons of `differences.tsv` by case.
fn reasons(cases: &[Http1Case]) -> BTreeMap<&'static str, &'static str> {
    let rows = include_str!("differences.tsv").lines().skip(1);
    let rows = rows.map(|row| {
        (
            row.split('\t').next().unwrap(),
            row.rsplit('\t').next().unwrap(),
        )
    });
    let reasons: BTreeMap<_, _> = rows.collect();
    for (name, reason) in &reasons {
        assert!(
            cases.iter().any(|case| case.name == *name),
            "{name}: no such case"
        );
        assert!(!reason.is_empty(), "{name}: no reason");
    }
    reasons
}

/// Returns a letter for each required response: `s` for served, `r` for refused.
fn expected(case: &Http1Case) -> String {
    case.statuses
        .iter()
        .map(|statuses| letter(statuses[0]))
        .collect()
}

fn letter(status: u16) -> char {
    if status < 400 { 's' } else { 'r' }
}

async fn outcomes(cases: &[Http1Case], address: SocketAddr) -> Vec<String> {
    futures_util::stream::iter(cases)
        .map(|case| outcome(case, address))
        .buffered(32)
        .collect()
        .await
}

async fn outcome(case: &Http1Case, address: SocketAddr) -> String {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut reader = ResponseReader::new(stream, PATIENCE);
    let _ = reader.stream().write_all(&case.send).await;
    if case.then == AfterSending::HalfCloses {
        let _ = reader.stream().shutdown().await;
    }
    let mut letters = String::new();
    // One more response than required is read, if the connection must be closed.
    let most = case.statuses.len() + usize::from(case.end == ConnectionEnd::Closed);
    for index in 0..most {
        let is_head = case
            .saw
            .get(index)
            .is_some_and(|saw| saw.starts_with("HEAD"));
        match reader
            .next(if is_head {
                AnswerTo::Head
            } else {
                AnswerTo::Other
            })
            .await
        {
            Ok(response) => letters.push(letter(response.status)),
            Err(NoResponse::Closed | NoResponse::Garbage) => {
                if index < case.statuses.len() {
                    letters.push('r');
                }
                break;
            }
            Err(NoResponse::Silence) => {
                if index < case.statuses.len() {
                    letters.push('?');
                }
                break;
            }
        }
    }
    letters
}

/// Starts a server that answers every request with 200.
async fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: hyper::Request<Incoming>| async {
                let _ = request.into_body().collect().await;
                Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::from_static(b"ok"))))
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    address
}

fn nginx(folder: &Path, origin: SocketAddr) -> (ChildProcess, SocketAddr) {
    let address = free_address();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {kind};\n"))
        .collect();
    let config = format!(
        "daemon off;\npid nginx.pid;\nworker_processes 1;\nevents {{ worker_connections 500; }}\nhttp {{\n\
         access_log off;\n{temporary}client_max_body_size 1g;\nserver {{ listen {address};\nlocation / {{\n\
         proxy_pass http://{origin};\nproxy_http_version 1.1;\nproxy_set_header Connection \"\";\n}} }} }}\n"
    );
    let folder = folder.join("nginx");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("nginx.conf"), config).unwrap();
    let log = folder.join("error.log");
    let mut command = Command::new("/usr/sbin/nginx");
    command
        .arg("-p")
        .arg(&folder)
        .args(["-c", "nginx.conf", "-e"])
        .arg(log);
    (ChildProcess::spawn_server(&mut command, address), address)
}

fn haproxy(folder: &Path, origin: SocketAddr) -> (ChildProcess, SocketAddr) {
    let address = free_address();
    let config = format!(
        "global\n maxconn 500\ndefaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 1s\n\
         frontend front\n bind {address}\n default_backend back\nbackend back\n server origin {origin}\n"
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, config).unwrap();
    let mut command = Command::new("/usr/sbin/haproxy");
    command.args(["-q", "-db", "-f"]).arg(file);
    (ChildProcess::spawn_server(&mut command, address), address)
}

fn apache(folder: &Path, origin: SocketAddr) -> (ChildProcess, SocketAddr) {
    let address = free_address();
    let modules: String = ["mpm_event", "authz_core", "proxy", "proxy_http"]
        .iter()
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .collect();
    let folder = folder.join("apache");
    fs::create_dir(&folder).unwrap();
    let config = format!(
        "ServerRoot {0}\nServerName app.example\nListen {address}\nPidFile {0}/pid\nErrorLog {0}/error.log\n\
         DefaultRuntimeDir {0}\n{modules}AllowEncodedSlashes NoDecode\nProxyPass / http://{origin}/\n",
        folder.display()
    );
    let file = folder.join("apache.conf");
    fs::write(&file, config).unwrap();
    let mut command = Command::new("/usr/sbin/apache2");
    command.args(["-DFOREGROUND", "-f"]).arg(file);
    (ChildProcess::spawn_server(&mut command, address), address)
}

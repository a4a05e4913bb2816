//! TLS as clients meet it: real handshakes against the router, with certificates made on the spot.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use corundum_abi::cgi::ResponseHead;
use corundum_abi::names::{AppName, ReleaseVersion};
use corundum_abi::scgi::RequestHead;
use corundum_exchange::{DynoBody, RequestBody};
use corundum_router::failure::Failure;
use corundum_router::grid::{Dispatched, Grid};
use corundum_router::log_line::Line;
use corundum_router::router::Router;
use corundum_router::server::{self, ServerLimits};
use corundum_router::site::Site;
use corundum_router::tls::certificates::{Certificate, CertificateEntry, Certificates};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A grid whose apps answer with what they see of the request.
#[derive(Default)]
struct Mirror {
    lines: Mutex<Vec<String>>,
}

impl Grid for Mirror {
    fn route(&self, host: &str) -> Option<Arc<Site>> {
        let name = host.strip_suffix(".example")?.rsplit('.').next()?;
        let mut site = Site::new(name.parse().ok()?);
        site.https.hsts = Some(http::HeaderValue::from_static("max-age=60"));
        Some(Arc::new(site))
    }

    async fn dispatch(
        &self,
        _app: &AppName,
        head: RequestHead,
        _body: RequestBody,
    ) -> Result<Dispatched, Failure> {
        Ok(Dispatched {
            head: ResponseHead {
                status: 200,
                headers: vec![],
            },
            body: DynoBody::Full(head.as_bytes().to_vec().into()),
            dyno: "web.1".parse().unwrap(),
            release: ReleaseVersion(1),
            queue: Duration::ZERO,
            usage: Arc::default(),
        })
    }

    fn log(&self, _app: &AppName, line: Line) {
        self.lines.lock().unwrap().push(line.to_string());
    }
}

/// A certificate of its own making, for these names.
fn made(names: &[&str]) -> (CertificateDer<'static>, CertificateEntry) {
    let app = names[0].rsplit('.').nth(1).unwrap();
    made_for(app, names)
}

fn made_for(app: &str, names: &[&str]) -> (CertificateDer<'static>, CertificateEntry) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let params = CertificateParams::new(names.clone()).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let chain = certificate.der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let entry = CertificateEntry {
        certificate: Certificate::new(vec![chain.clone()], key).unwrap(),
        app: Some(app.parse().unwrap()),
        hosts: names.into_iter().map(String::into_boxed_str).collect(),
    };
    (chain, entry)
}

struct Front {
    grid: Arc<Mirror>,
    certificates: Arc<Certificates>,
    address: SocketAddr,
}

impl Front {
    async fn start(entries: Vec<CertificateEntry>) -> Self {
        Self::start_with(entries, ServerLimits::default()).await
    }

    async fn start_with(entries: Vec<CertificateEntry>, limits: ServerLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let grid = Arc::new(Mirror::default());
        let certificates = Arc::new(Certificates::new().unwrap());
        certificates.replace(entries);
        tokio::spawn(server::run_tls(
            listener,
            certificates.clone(),
            Arc::new(Router::new(grid.clone())),
            limits,
            std::future::pending(),
        ));
        Self {
            grid,
            certificates,
            address,
        }
    }

    /// A handshake by a client that trusts `root` and asks for `name`.
    async fn connect(
        &self,
        root: &CertificateDer<'static>,
        name: &str,
        protocols: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await
    }

    /// Sends bytes that are no handshake; what comes back until the connection closes.
    async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let read = tokio::time::timeout(Duration::from_secs(5), read);
        let _ = read.await.expect("the connection closes");
        answer
    }
}

/// One request on a connection that stays open.
async fn ask(stream: &mut TlsStream<TcpStream>, host: &str) -> String {
    let request = format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut part = [0; 16384];
    loop {
        let read = stream.read(&mut part).await.unwrap();
        answer.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&answer);
        let length = text.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
        let begun = text.split_once("\r\n\r\n").map(|(_, body)| body.len());
        if read == 0 || (length.is_some() && begun >= length) {
            return text.into_owned();
        }
    }
}

/// Why a handshake failed, by the server's alert.
fn alert(error: &std::io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

#[tokio::test]
async fn a_request_over_tls_is_told_apart_by_the_app_and_the_log() {
    let (root, entry) = made(&["one.example"]);
    let front = Front::start(vec![entry]).await;
    let mut stream = front
        .connect(&root, "one.example", &["http/1.1"])
        .await
        .unwrap();
    let port = front.address.port();
    let answer = ask(&mut stream, &format!("one.example:{port}")).await;
    for part in [
        "HTTP_X_FORWARDED_PROTO\0https\0".to_owned(),
        format!("HTTP_X_FORWARDED_PORT\0{port}\0"),
        "rack.url_scheme\0https\0".to_owned(),
        "strict-transport-security: max-age=60\r\n".to_owned(),
    ] {
        assert!(answer.contains(&part), "{part}: {answer}");
    }
    let line = front.grid.lines.lock().unwrap()[0].clone();
    assert!(line.contains("protocol=http1.1 tls=true"), "{line}");
}

#[tokio::test]
async fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let (exact_root, exact) = made(&["one.example"]);
    let (wild_root, wild) = made(&["*.wild.example"]);
    let front = Front::start(vec![wild, exact]).await;
    let presented =
        |stream: TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let one = front
        .connect(&exact_root, "ONE.example", &[])
        .await
        .unwrap();
    assert_eq!(presented(one), exact_root);
    let two = front
        .connect(&wild_root, "two.wild.example", &[])
        .await
        .unwrap();
    assert_eq!(presented(two), wild_root);
    // A wildcard stands for one label.
    let deep = front
        .connect(&wild_root, "a.two.wild.example", &[])
        .await
        .unwrap_err();
    assert_eq!(alert(&deep), Some(AlertDescription::UnrecognisedName));
}

#[tokio::test]
async fn a_name_without_a_certificate_and_no_name_at_all_are_refused() {
    let (root, entry) = made(&["one.example"]);
    let front = Front::start(vec![entry]).await;
    // An address is never sent as a name.
    for name in ["two.example", "127.0.0.1"] {
        let error = front.connect(&root, name, &[]).await.unwrap_err();
        assert_eq!(
            alert(&error),
            Some(AlertDescription::UnrecognisedName),
            "{name}"
        );
    }
}

#[tokio::test]
async fn h2_and_http11_are_agreed_on_by_alpn() {
    let (root, entry) = made(&["one.example"]);
    let front = Front::start(vec![entry]).await;
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let stream = front.connect(&root, "one.example", offered).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed);
    }
    let other = front
        .connect(&root, "one.example", &["spdy/1"])
        .await
        .unwrap_err();
    assert_eq!(alert(&other), Some(AlertDescription::NoApplicationProtocol));
    let stream = front.connect(&root, "one.example", &["h2"]).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://one.example/a").body(Empty::<Bytes>::new());
    let response = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(
        body.windows(20)
            .any(|part| part == b"SERVER_PROTOCOL\0HTTP")
    );
    let line = front.grid.lines.lock().unwrap().last().cloned().unwrap();
    assert!(line.contains("protocol=http2 tls=true"), "{line}");
}

#[tokio::test]
async fn certificates_are_replaced_under_open_connections() {
    let (old_root, old) = made(&["one.example"]);
    let front = Front::start(vec![old]).await;
    let mut open = front.connect(&old_root, "one.example", &[]).await.unwrap();
    assert!(
        ask(&mut open, "one.example")
            .await
            .starts_with("HTTP/1.1 200")
    );
    let (new_root, new) = made(&["one.example"]);
    front.certificates.replace([new]);
    assert!(
        ask(&mut open, "one.example")
            .await
            .starts_with("HTTP/1.1 200")
    );
    let mut fresh = front.connect(&new_root, "one.example", &[]).await.unwrap();
    assert!(
        ask(&mut fresh, "one.example")
            .await
            .starts_with("HTTP/1.1 200")
    );
    front.certificates.replace([]);
    let gone = front
        .connect(&new_root, "one.example", &[])
        .await
        .unwrap_err();
    assert_eq!(alert(&gone), Some(AlertDescription::UnrecognisedName));
    assert!(
        ask(&mut open, "one.example")
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn a_request_for_a_host_that_the_certificate_is_not_shown_for_is_misdirected() {
    let (root, one) = made(&["one.example"]);
    let (wild_root, wild) = made_for("one", &["*.wild.example"]);
    let (_, two) = made(&["two.example"]);
    let front = Front::start(vec![one, two, wild]).await;
    let mut stream = front.connect(&root, "one.example", &[]).await.unwrap();
    let answer = ask(&mut stream, "two.example").await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    let line = front.grid.lines.lock().unwrap().last().cloned().unwrap();
    assert!(
        line.contains("code=H31 desc=\"Misdirected Request\""),
        "{line}"
    );
    // The certificate covers the name, but is another app's.
    let mut stream = front
        .connect(&wild_root, "two.wild.example", &[])
        .await
        .unwrap();
    let answer = ask(&mut stream, "two.wild.example").await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
}

#[tokio::test]
async fn plain_http_gets_an_answer_that_says_what_is_wrong() {
    let front = Front::start(vec![]).await;
    let answer = front
        .raw(b"GET / HTTP/1.1\r\nHost: one.example\r\n\r\n")
        .await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains(&format!("Content-Length: {}\r\n", body.len())),
        "{answer}"
    );
    assert!(body.contains("https://"), "{answer}");
}

#[tokio::test]
async fn garbage_and_silence_end_the_connection_and_nothing_else() {
    let limits = ServerLimits {
        handshake: Duration::from_millis(200),
        ..ServerLimits::default()
    };
    let (root, entry) = made(&["one.example"]);
    let front = Front::start_with(vec![entry], limits).await;
    assert!(front.raw(b"\0\xff\x01garbage").await.is_empty());
    // A handshake's first byte with nothing sensible behind it, a half hello, and nothing at all.
    front.raw(&[22, 3, 1, 0, 5, 1, 2, 3, 4, 5]).await;
    front.raw(&[22, 3, 1, 2, 0, 1]).await;
    front.raw(b"").await;
    let mut stream = front.connect(&root, "one.example", &[]).await.unwrap();
    assert!(
        ask(&mut stream, "one.example")
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn clients_that_never_shake_hands_hold_their_places_only_so_long() {
    let limits = ServerLimits {
        connections: 2,
        handshake: Duration::from_millis(300),
        ..ServerLimits::default()
    };
    let (root, entry) = made(&["one.example"]);
    let front = Front::start_with(vec![entry], limits).await;
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(front.address).await.unwrap());
    }
    let connected = front.connect(&root, "one.example", &[]);
    let connected = tokio::time::timeout(Duration::from_secs(5), connected).await;
    assert!(connected.expect("a place becomes free").is_ok());
}

#[tokio::test]
async fn an_acme_server_is_shown_its_challenge_and_others_are_not() {
    let (root, entry) = made(&["one.example"]);
    let front = Front::start(vec![entry]).await;
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["one.example".to_owned()]).unwrap();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&[7; 32])];
    let challenge = params.self_signed(&key).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let certificate = Certificate::of_challenge(challenge, key).unwrap();
    front
        .certificates
        .add_challenge("one.example", &certificate);
    // The client of these tests, like a browser, takes no certificate with a critical extension that it does not know.
    let shown = front.connect(&root, "one.example", &["acme-tls/1"]).await;
    let shown = shown.unwrap_err().to_string();
    assert!(shown.contains("CriticalExtension"), "{shown}");
    for protocols in [&["acme-tls/1", "h2"][..], &["h2"], &[]] {
        assert!(
            front.connect(&root, "one.example", protocols).await.is_ok(),
            "{protocols:?}"
        );
    }
    front.certificates.remove_challenge("one.example");
    let gone = front
        .connect(&root, "one.example", &["acme-tls/1"])
        .await
        .unwrap_err();
    assert_eq!(alert(&gone), Some(AlertDescription::NoApplicationProtocol));
}

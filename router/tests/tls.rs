//! TLS handshakes of real clients with the router, with certificates made on the spot.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corundum_router::router::Router;
use corundum_router::server::{self, ServerLimits};
use corundum_router::tls::certificates::{Certificate, CertificateEntry, Certificates};
use corundum_router_test_support::grid::{AppSettings, FakeGrid, ServedHosts};
use corundum_router_test_support::router::read_to_close;
use corundum_router_test_support::scripted;
use corundum_test_support::certificates::SelfSigned;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, CustomExtension};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Makes a self-signed certificate for `names`, of the app that the first name names.
fn certificate(names: &[&str]) -> (CertificateDer<'static>, CertificateEntry) {
    let app = names[0].rsplit('.').nth(1).unwrap();
    certificate_of(app, names)
}

/// Makes a self-signed certificate of `app` for `names`.
fn certificate_of(app: &str, names: &[&str]) -> (CertificateDer<'static>, CertificateEntry) {
    let made = SelfSigned::new(names);
    let chain = made.certificate();
    let entry = CertificateEntry {
        certificate: Certificate::new(vec![chain.clone()], made.private_key()).unwrap(),
        app: Some(app.parse().unwrap()),
        hosts: names.iter().map(|name| (*name).into()).collect(),
    };
    (chain, entry)
}

/// A router that listens with TLS. Its apps have HSTS.
struct TlsRouter {
    grid: Arc<FakeGrid>,
    certificates: Arc<Certificates>,
    address: SocketAddr,
}

impl TlsRouter {
    async fn start(entries: Vec<CertificateEntry>) -> Self {
        Self::start_with(entries, ServerLimits::default()).await
    }

    async fn start_with(entries: Vec<CertificateEntry>, limits: ServerLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = AppSettings {
            hsts: Some(http::HeaderValue::from_static("max-age=60")),
            ..AppSettings::default()
        };
        let grid = FakeGrid::new(scripted::app(), ServedHosts::Example, settings);
        let grid = Arc::new(grid);
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

    /// Shakes hands as a client that trusts `root`, requests the server `name` and offers `protocols`.
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

    /// Sends bytes without a handshake. Returns the bytes that arrive until the router closes the connection.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        read_to_close(&mut stream).await
    }
}

/// Requests `/head` on a connection that stays open.
async fn request(stream: &mut TlsStream<TcpStream>, host: &str) -> String {
    let request = format!("GET /head HTTP/1.1\r\nHost: {host}\r\n\r\n");
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

/// Returns the alert with which the server ended a handshake.
fn alert(error: &std::io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

#[tokio::test]
async fn a_request_over_tls_is_marked_for_the_app_and_in_the_log() {
    let (root, entry) = certificate(&["one.example"]);
    let router = TlsRouter::start(vec![entry]).await;
    let mut stream = router
        .connect(&root, "one.example", &["http/1.1"])
        .await
        .unwrap();
    let port = router.address.port();
    let answer = request(&mut stream, &format!("one.example:{port}")).await;
    for part in [
        "HTTP_X_FORWARDED_PROTO\0https\0".to_owned(),
        format!("HTTP_X_FORWARDED_PORT\0{port}\0"),
        "rack.url_scheme\0https\0".to_owned(),
        "strict-transport-security: max-age=60\r\n".to_owned(),
    ] {
        assert!(answer.contains(&part), "{part}: {answer}");
    }
    let line = router.grid.log()[0].clone();
    assert!(line.contains("protocol=http1.1 tls=true"), "{line}");
}

#[tokio::test]
async fn the_certificate_is_chosen_by_server_name() {
    let (exact_root, exact) = certificate(&["one.example"]);
    let (wild_root, wild) = certificate(&["*.wild.example"]);
    let router = TlsRouter::start(vec![wild, exact]).await;
    let presented =
        |stream: TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let one = router
        .connect(&exact_root, "ONE.example", &[])
        .await
        .unwrap();
    assert_eq!(presented(one), exact_root);
    let two = router
        .connect(&wild_root, "two.wild.example", &[])
        .await
        .unwrap();
    assert_eq!(presented(two), wild_root);
    // A wildcard matches one label.
    let deep = router
        .connect(&wild_root, "a.two.wild.example", &[])
        .await
        .unwrap_err();
    assert_eq!(alert(&deep), Some(AlertDescription::UnrecognisedName));
}

#[tokio::test]
async fn handshakes_without_a_known_server_name_are_refused() {
    let (root, entry) = certificate(&["one.example"]);
    let router = TlsRouter::start(vec![entry]).await;
    // Clients do not send an address as a server name.
    for name in ["two.example", "127.0.0.1"] {
        let error = router.connect(&root, name, &[]).await.unwrap_err();
        assert_eq!(
            alert(&error),
            Some(AlertDescription::UnrecognisedName),
            "{name}"
        );
    }
}

#[tokio::test]
async fn alpn_selects_h2_and_http_1_1() {
    let (root, entry) = certificate(&["one.example"]);
    let router = TlsRouter::start(vec![entry]).await;
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let stream = router.connect(&root, "one.example", offered).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed);
    }
    let other = router
        .connect(&root, "one.example", &["spdy/1"])
        .await
        .unwrap_err();
    assert_eq!(alert(&other), Some(AlertDescription::NoApplicationProtocol));
    let stream = router.connect(&root, "one.example", &["h2"]).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://one.example/head").body(Empty::<Bytes>::new());
    let response = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(
        body.windows(20)
            .any(|part| part == b"SERVER_PROTOCOL\0HTTP")
    );
    let line = router.grid.log().last().cloned().unwrap();
    assert!(line.contains("protocol=http2 tls=true"), "{line}");
}

#[tokio::test]
async fn replaced_certificates_apply_to_new_connections_only() {
    let (old_root, old) = certificate(&["one.example"]);
    let router = TlsRouter::start(vec![old]).await;
    let mut open = router.connect(&old_root, "one.example", &[]).await.unwrap();
    assert!(
        request(&mut open, "one.example")
            .await
            .starts_with("HTTP/1.1 200")
    );
    let (new_root, new) = certificate(&["one.example"]);
    router.certificates.replace([new]);
    assert!(
        request(&mut open, "one.example")
            .await
            .starts_with("HTTP/1.1 200")
    );
    let mut fresh = router.connect(&new_root, "one.example", &[]).await.unwrap();
    assert!(
        request(&mut fresh, "one.example")
            .await
            .starts_with("HTTP/1.1 200")
    );
    router.certificates.replace([]);
    let gone = router
        .connect(&new_root, "one.example", &[])
        .await
        .unwrap_err();
    assert_eq!(alert(&gone), Some(AlertDescription::UnrecognisedName));
    assert!(
        request(&mut open, "one.example")
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn a_request_for_a_host_of_another_certificate_is_misdirected() {
    let (root, one) = certificate(&["one.example"]);
    let (wild_root, wild) = certificate_of("one", &["*.wild.example"]);
    let (_, two) = certificate(&["two.example"]);
    let router = TlsRouter::start(vec![one, two, wild]).await;
    let mut stream = router.connect(&root, "one.example", &[]).await.unwrap();
    let answer = request(&mut stream, "two.example").await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    let line = router.grid.log().last().cloned().unwrap();
    assert!(
        line.contains("code=H31 desc=\"Misdirected Request\""),
        "{line}"
    );
    // The certificate covers the name but belongs to another app.
    let mut stream = router
        .connect(&wild_root, "two.wild.example", &[])
        .await
        .unwrap();
    let answer = request(&mut stream, "two.wild.example").await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
}

#[tokio::test]
async fn plain_http_on_the_https_port_gets_400_with_the_reason() {
    let router = TlsRouter::start(vec![]).await;
    let answer = router
        .raw(b"GET / HTTP/1.1\r\nHost: one.example\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains(&format!("Content-Length: {}\r\n", body.len())),
        "{answer}"
    );
    assert!(body.contains("https://"), "{answer}");
}

#[tokio::test]
async fn invalid_and_incomplete_handshakes_end_only_their_connection() {
    let limits = ServerLimits {
        handshake: Duration::from_millis(200),
        ..ServerLimits::default()
    };
    let (root, entry) = certificate(&["one.example"]);
    let router = TlsRouter::start_with(vec![entry], limits).await;
    assert!(router.raw(b"\0\xff\x01garbage").await.is_empty());
    // A handshake record with garbage, an incomplete ClientHello, and no bytes at all.
    router.raw(&[22, 3, 1, 0, 5, 1, 2, 3, 4, 5]).await;
    router.raw(&[22, 3, 1, 2, 0, 1]).await;
    router.raw(b"").await;
    let mut stream = router.connect(&root, "one.example", &[]).await.unwrap();
    assert!(
        request(&mut stream, "one.example")
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn connections_without_a_handshake_time_out() {
    let limits = ServerLimits {
        connections: 2,
        handshake: Duration::from_millis(300),
        ..ServerLimits::default()
    };
    let (root, entry) = certificate(&["one.example"]);
    let router = TlsRouter::start_with(vec![entry], limits).await;
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(router.address).await.unwrap());
    }
    let connected = router.connect(&root, "one.example", &[]);
    let connected = tokio::time::timeout(Duration::from_secs(5), connected).await;
    assert!(
        connected
            .expect("a connection is accepted within 5 s")
            .is_ok()
    );
}

#[tokio::test]
async fn tls_alpn_01_challenges_are_presented_only_for_acme_tls() {
    let (root, entry) = certificate(&["one.example"]);
    let router = TlsRouter::start(vec![entry]).await;
    let mut params = CertificateParams::new(vec!["one.example".to_owned()]).unwrap();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&[7; 32])];
    let challenge = SelfSigned::with_params(&params);
    let certificate =
        Certificate::of_challenge(challenge.certificate(), challenge.private_key()).unwrap();
    router
        .certificates
        .add_challenge("one.example", &certificate);
    // rustls, like browsers, rejects a certificate with an unknown critical extension, so the error shows the challenge.
    let shown = router.connect(&root, "one.example", &["acme-tls/1"]).await;
    let shown = shown.unwrap_err().to_string();
    assert!(shown.contains("CriticalExtension"), "{shown}");
    for protocols in [&["acme-tls/1", "h2"][..], &["h2"], &[]] {
        assert!(
            router
                .connect(&root, "one.example", protocols)
                .await
                .is_ok(),
            "{protocols:?}"
        );
    }
    router.certificates.remove_challenge("one.example");
    let gone = router
        .connect(&root, "one.example", &["acme-tls/1"])
        .await
        .unwrap_err();
    assert_eq!(alert(&gone), Some(AlertDescription::NoApplicationProtocol));
}

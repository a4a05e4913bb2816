//! Log drains, against receivers of syslog, of syslog over TLS and of HTTPS.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::harness::Node;

const APP: &str = "run ->(env) { puts \"said \" + env[\"PATH_INFO\"]; [200, {}, [\"ok\"]] }\n";

/// A receiver that passes on what comes, in whatever pieces.
struct Sink {
    port: u16,
    pieces: Receiver<Vec<u8>>,
    seen: String,
}

impl Sink {
    fn start(answer: &'static str, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, pieces) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (sender, tls) = (sender.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    None => pass_on(stream, answer, |piece| sender.send(piece).is_ok()),
                    Some(tls) => {
                        let connection = rustls::ServerConnection::new(tls).unwrap();
                        let stream = rustls::StreamOwned::new(connection, stream);
                        pass_on(stream, answer, |piece| sender.send(piece).is_ok());
                    }
                });
            }
        });
        Self {
            port,
            pieces,
            seen: String::new(),
        }
    }

    /// Waits until all that has come holds `text`.
    fn wait_for(&mut self, text: &str) -> &str {
        let end = Instant::now() + Duration::from_secs(30);
        while !self.seen.contains(text) {
            let left = end.saturating_duration_since(Instant::now());
            let piece = self.pieces.recv_timeout(left);
            let piece =
                piece.unwrap_or_else(|_| panic!("{text:?} did not come, but {:?}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&piece));
        }
        &self.seen
    }
}

fn pass_on(mut stream: impl Read + Write, answer: &str, mut take: impl FnMut(Vec<u8>) -> bool) {
    let mut buffer = [0; 16384];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if !take(buffer[..length].to_vec()) {
            return;
        }
        if !answer.is_empty() {
            let _ = stream.write_all(answer.as_bytes());
            let _ = stream.flush();
        }
    }
}

/// A certificate for localhost of an authority of its own: what a server needs, and the authority in PEM.
fn certificate() -> (Arc<rustls::ServerConfig>, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (Arc::new(config), made.cert.pem())
}

#[test]
fn an_apps_log_goes_to_its_drains_in_logplexs_form() {
    let (tls, pem) = certificate();
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), pem).unwrap();
    let ca = authority.path().to_str().unwrap();
    let mut node = Node::start_with(&[
        "--build-ruby",
        "false",
        "--drain-private",
        "true",
        "--drain-ca",
        ca,
    ]);
    let app = node.create("myapp");
    app.write("config.ru", APP);
    assert!(app.push("main").success);
    let mut plain = Sink::start("", None);
    let mut encrypted = Sink::start("", Some(tls.clone()));
    let mut https = Sink::start(
        "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
        Some(tls),
    );
    let secret = format!(
        "https://user:hunter2@localhost:{}/in?key=hunter2",
        https.port
    );
    for url in [
        format!("syslog://127.0.0.1:{}", plain.port),
        format!("syslog+tls://localhost:{}", encrypted.port),
        secret.clone(),
    ] {
        let added = node.cli(&["drains:add", &url, "-a", "myapp"]);
        assert!(
            added.success && !added.text.contains("hunter2"),
            "{}",
            added.text
        );
    }
    // One that nobody answers holds nobody up.
    assert!(
        node.cli(&["drains:add", "syslog://127.0.0.1:9", "-a", "myapp"])
            .success
    );
    assert_eq!(node.get("myapp", "/one").1, "ok");
    for sink in [&mut plain, &mut encrypted] {
        let seen = sink.wait_for("said /one").to_owned();
        let line = seen
            .lines()
            .find(|line| line.contains("said /one"))
            .unwrap();
        let (length, message) = line.split_once(' ').unwrap();
        assert_eq!(
            length.parse::<usize>().unwrap(),
            message.len() + 1,
            "{line}"
        );
        assert!(
            message.starts_with("<190>1 20") && message.ends_with(" app web.1 - said /one"),
            "{message}"
        );
        assert!(
            sink.wait_for("at=info method=GET path=\"/one\"")
                .contains(" corundum router - at=info")
        );
    }
    let posted = https.wait_for("said /one");
    assert!(
        posted.contains("POST /in?key=hunter2 HTTP/1.1\r\n"),
        "{posted}"
    );
    for header in [
        "content-type: application/logplex-1\r\n",
        "logplex-msg-count: ",
        "logplex-frame-id: ",
        "logplex-drain-token: d.",
        "authorization: Basic dXNlcjpodW50ZXIy\r\n",
    ] {
        assert!(
            posted
                .to_ascii_lowercase()
                .contains(&header.to_ascii_lowercase()),
            "{header}: {posted}"
        );
    }
    assert!(posted.contains(" host app web.1 - said /one\n"), "{posted}");
    let listed = node.cli(&["drains", "-a", "myapp"]).text;
    assert!(
        listed.contains(&format!("https://***@localhost:{}/in?***", https.port)),
        "{listed}"
    );
    let json = node.cli(&["drains", "-a", "myapp", "--json"]).text;
    let log = node.cli(&["logs", "-a", "myapp"]).text;
    assert!(log.contains("Add drain https://***@") && !(listed + &json + &log).contains("hunter2"));
    assert!(node.cli(&["drains:remove", &secret, "-a", "myapp"]).success);
    assert!(!node.cli(&["drains:remove", &secret, "-a", "myapp"]).success);
    node.kill_and_restart();
    assert_eq!(node.get("myapp", "/two").1, "ok");
    plain.wait_for("said /two");
    encrypted.wait_for("said /two");
    while let Ok(piece) = https.pieces.recv_timeout(Duration::from_millis(500)) {
        assert!(
            !String::from_utf8_lossy(&piece).contains("/two"),
            "it was removed"
        );
    }
}

#[test]
fn a_drain_leads_to_no_private_address_unless_the_operator_says_so() {
    let node = Node::start();
    let app = node.create("myapp");
    app.write("config.ru", APP);
    assert!(app.push("main").success);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "syslog://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    assert!(node.cli(&["drains:add", &url, "-a", "myapp"]).success);
    assert_eq!(node.get("myapp", "/").1, "ok");
    listener.set_nonblocking(true).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let came: std::io::Result<(TcpStream, _)> = listener.accept();
    assert!(came.is_err(), "the node connected to a private address");
    let wrong = node.cli(&["drains:add", "http://logs.example/", "-a", "myapp"]);
    assert!(
        !wrong.success && wrong.text.contains("syslog+tls://HOST:PORT"),
        "{}",
        wrong.text
    );
}

/// Debian's rsyslog, which takes messages over TLS and writes down what it makes of them.
struct Rsyslog {
    directory: tempfile::TempDir,
    process: std::process::Child,
}

impl Rsyslog {
    /// None where it is not installed. A check that cannot run says so, and fails in CI.
    fn start() -> Option<Self> {
        let found = [
            "/usr/sbin/rsyslogd",
            "/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so",
        ]
        .iter()
        .all(|part| std::path::Path::new(part).exists());
        if !found {
            let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
            let missing = "rsyslog is missing: apt-get install rsyslog rsyslog-gnutls";
            assert!(!ci, "{missing}");
            eprintln!("!! SKIPPED: {missing}");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().display();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let write = |file: &str, text: &str| {
            std::fs::write(directory.path().join(file), text).unwrap();
        };
        write("cert.pem", &made.cert.pem());
        write("key.pem", &made.signing_key.serialize_pem());
        let configuration = format!(
            r#"global(workDirectory="{place}" defaultNetstreamDriverCAFile="{place}/cert.pem"
  defaultNetstreamDriverCertFile="{place}/cert.pem" defaultNetstreamDriverKeyFile="{place}/key.pem")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="{place}/port" ruleset="all")
template(name="fields" type="string" string="%pri% %hostname% %app-name% %procid% [%msg%]\n")
ruleset(name="all") {{ action(type="omfile" file="{place}/received" template="fields") }}
"#
        );
        write("rsyslog.conf", &configuration);
        let process = std::process::Command::new("/usr/sbin/rsyslogd")
            .args(["-n", "-f"])
            .arg(directory.path().join("rsyslog.conf"))
            .arg("-i")
            .arg(directory.path().join("pid"))
            .spawn()
            .unwrap();
        Some(Self { directory, process })
    }

    /// What stands in one of its files, once that holds `text`.
    fn wait_for(&self, file: &str, text: &str) -> String {
        for _ in 0..600 {
            let read = std::fs::read_to_string(self.directory.path().join(file));
            if let Some(read) = read.ok().filter(|read| read.contains(text)) {
                return read;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("rsyslog's {file} does not hold {text:?}");
    }
}

impl Rsyslog {
    fn port(&self) -> String {
        loop {
            // It is there before it holds anything.
            let port = self.wait_for("port", "");
            if !port.is_empty() {
                return port;
            }
        }
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn rsyslog_reads_each_field_of_what_a_drain_sends_it() {
    let Some(rsyslog) = Rsyslog::start() else {
        return;
    };
    let authority = rsyslog.directory.path().join("cert.pem");
    let node = Node::start_with(&[
        "--build-ruby",
        "false",
        "--drain-private",
        "true",
        "--drain-ca",
        authority.to_str().unwrap(),
    ]);
    let app = node.create("myapp");
    app.write("config.ru", APP);
    assert!(app.push("main").success);
    let port = rsyslog.port();
    let url = format!("syslog+tls://localhost:{port}");
    assert!(node.cli(&["drains:add", &url, "-a", "myapp"]).success);
    assert_eq!(node.get("myapp", "/one").1, "ok");
    let received = rsyslog.wait_for("received", "path=\"/one\"");
    let of = |text: &str| {
        let line = received.lines().find(|line| line.contains(text));
        line.unwrap_or_else(|| panic!("{text:?} is not in {received}"))
    };
    let said = of("said /one");
    assert!(
        said.starts_with("190 d.") && said.ends_with(" app web.1 [said /one]"),
        "{received}"
    );
    let routed = of("at=info");
    assert!(
        routed.starts_with("158 d.")
            && routed.contains(" corundum router [at=info method=GET path=\"/one\" "),
        "{received}"
    );
}

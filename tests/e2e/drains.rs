//! Log drains, received by servers of syslog, of syslog over TLS and of HTTPS.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use corundum_test_support::certificates::SelfSigned;
use corundum_test_support::node::TestNode;
use corundum_test_support::process::{ChildProcess, is_installed};
use corundum_test_support::wait::poll;

const APP: &str = "run ->(env) { puts \"said \" + env[\"PATH_INFO\"]; [200, {}, [\"ok\"]] }\n";

/// A server that collects the bytes that it receives.
struct DrainReceiver {
    port: u16,
    pieces: Receiver<Vec<u8>>,
    seen: String,
}

impl DrainReceiver {
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

    /// Waits until the bytes received so far contain `text`, and returns all of them.
    fn wait_for(&mut self, text: &str) -> &str {
        let end = Instant::now() + Duration::from_secs(30);
        while !self.seen.contains(text) {
            let left = end.saturating_duration_since(Instant::now());
            let piece = self.pieces.recv_timeout(left);
            let piece = piece.unwrap_or_else(|_| panic!("{text:?} is missing in {:?}", self.seen));
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

#[test]
fn drains_receive_the_log_of_their_app_in_logplex_format() {
    let certificate = SelfSigned::new(&["localhost"]);
    let tls = certificate.server_config();
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), certificate.certificate_pem()).unwrap();
    let ca = authority.path().to_str().unwrap();
    let mut node = TestNode::start_with(&[
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
    let mut plain = DrainReceiver::start("", None);
    let mut encrypted = DrainReceiver::start("", Some(tls.clone()));
    let mut https = DrainReceiver::start(
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
    // A drain that cannot be reached does not delay the others.
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
            "a removed drain still receives lines"
        );
    }
}

#[test]
fn drains_to_private_addresses_are_not_connected_by_default() {
    let node = TestNode::start();
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
    wrong.assert_failure("syslog+tls://HOST:PORT");
}

/// Debian's rsyslog, which receives messages over TLS and writes their fields to a file.
struct Rsyslog {
    directory: tempfile::TempDir,
    _process: ChildProcess,
}

impl Rsyslog {
    /// Starts rsyslog. Returns `None` if it is not installed.
    fn start() -> Option<Self> {
        let files = [
            "/usr/sbin/rsyslogd",
            "/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so",
        ];
        if !is_installed(&files, "rsyslog rsyslog-gnutls") {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().display();
        let certificate = SelfSigned::new(&["localhost"]);
        let write = |file: &str, text: &str| {
            std::fs::write(directory.path().join(file), text).unwrap();
        };
        write("cert.pem", &certificate.certificate_pem());
        write("key.pem", &certificate.private_key_pem());
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
        let mut command = std::process::Command::new("/usr/sbin/rsyslogd");
        command
            .args(["-n", "-f"])
            .arg(directory.path().join("rsyslog.conf"))
            .arg("-i")
            .arg(directory.path().join("pid"));
        Some(Self {
            directory,
            _process: ChildProcess::spawn(&mut command),
        })
    }

    /// Waits until a file of the directory contains `text`, and returns the file.
    fn wait_for(&self, file: &str, text: &str) -> String {
        let found = poll(Duration::from_secs(30), || {
            let read = std::fs::read_to_string(self.directory.path().join(file)).ok()?;
            // rsyslog creates the file before it writes to it.
            (!read.is_empty() && read.contains(text)).then_some(read)
        });
        found.unwrap_or_else(|| panic!("rsyslog's {file} does not contain {text:?}"))
    }

    fn port(&self) -> String {
        self.wait_for("port", "")
    }
}

#[test]
fn rsyslog_parses_each_field_of_a_drained_message() {
    let Some(rsyslog) = Rsyslog::start() else {
        return;
    };
    let authority = rsyslog.directory.path().join("cert.pem");
    let node = TestNode::start_with(&[
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

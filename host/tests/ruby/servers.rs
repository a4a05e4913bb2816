//! Responses of a dyno beside those of puma and thin, for the same app and the same requests.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{TestApp, request};

/// An app with a path for each part of Rack's contract between servers and apps.
const APP: &str = r#"
    class Body
      def initialize(*parts) = @parts = parts
      def each(&block) = @parts.each(&block)
      def close = $closed = $closed.to_i + 1
    end
    File.write('/tmp/rack-contract', "file\n" * 20_000)
    plain = { 'content-type' => 'text/plain' }
    run ->(env) {
      case env['PATH_INFO']
      when '/array' then [200, plain, ['one ', 'two']]
      when '/each' then [200, plain, Body.new('three', '', ' four')]
      when '/closed' then [200, plain, [$closed.to_s]]
      when '/file' then [200, plain, File.open('/tmp/rack-contract', 'rb')]
      when '/lazy' then [200, plain, Enumerator.new { |out| 3.times { |part| out << part.to_s } }]
      when '/framed' then [200, plain.merge('transfer-encoding' => 'chunked'), ["5\r\nhello\r\n", "6\r\n world\r\n0\r\n\r\n"]]
      when '/lines' then [200, plain.merge('set-cookie' => "a=1\nb=2"), ['x']]
      when '/numbers' then [201, plain.merge('x-number' => '42'), ['x']]
      when '/length' then [200, plain.merge('content-length' => '3'), ['abc']]
      when '/empty' then [200, plain, []]
      when '/no-content' then [204, {}, []]
      when '/not-modified' then [304, { 'etag' => '"a"' }, []]
      when '/missing' then [404, plain, ['gone']]
      when '/input'
        input = env['rack.input']
        [200, plain, [[input.read(2), input.gets, input.read, input.read(1), input.read].inspect]]
      when '/env' then [200, plain, [env.values_at('REQUEST_METHOD', 'SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'CONTENT_LENGTH', 'SERVER_PROTOCOL').inspect]]
      when '/large' then [200, plain, ['x' * 300_000]]
      end
    }
"#;

const REQUESTS: [(&str, &str, &str); 21] = [
    ("GET", "/array", ""),
    ("GET", "/each", ""),
    ("HEAD", "/each", ""),
    ("GET", "/closed", ""),
    ("GET", "/file", ""),
    ("HEAD", "/file", ""),
    ("GET", "/lazy", ""),
    ("GET", "/framed", ""),
    ("GET", "/lines", ""),
    ("GET", "/numbers", ""),
    ("GET", "/length", ""),
    ("HEAD", "/length", ""),
    ("GET", "/empty", ""),
    ("GET", "/no-content", ""),
    ("GET", "/not-modified", ""),
    ("GET", "/missing", ""),
    ("POST", "/input", "a line\nand more"),
    ("GET", "/env?a=b&c", ""),
    ("POST", "/env", "body"),
    ("GET", "/large", ""),
    ("HEAD", "/missing", ""),
];

/// A server of Debian's packages, which ends with this.
struct PeerServer {
    child: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl PeerServer {
    fn start(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("config.ru"), APP).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut command = Command::new(name);
        match name {
            "puma" => command.args([
                "-t",
                "1:1",
                "-b",
                &format!("tcp://127.0.0.1:{port}"),
                "config.ru",
            ]),
            _ => command.args([
                "-a",
                "127.0.0.1",
                "-p",
                &port.to_string(),
                "-R",
                "config.ru",
                "start",
            ]),
        };
        command
            .env("RACK_ENV", "none")
            .current_dir(directory.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let server = Self {
            child,
            port,
            _directory: directory,
        };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "{name} does not start"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn answer(&self, (method, target, body): (&str, &str, &str)) -> (u16, Vec<String>, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let length = match body.len() {
            0 => String::new(),
            length => format!("Content-Length: {length}\r\n"),
        };
        write!(stream, "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{length}\r\n{body}").unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers: Vec<String> = lines.map(str::to_owned).collect();
        let is_chunked = headers
            .iter()
            .any(|line| line.eq_ignore_ascii_case("transfer-encoding: chunked"));
        let body = if is_chunked {
            unframed(body)
        } else {
            body.to_owned()
        };
        (status, own_headers(headers), body)
    }
}

impl Drop for PeerServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unframed(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        body.push_str(&after[..size]);
        rest = &after[size + 2..];
        if size == 0 {
            break;
        }
    }
    body
}

/// Returns the headers that come from the app, sorted; the others are the server's choice.
fn own_headers(headers: Vec<String>) -> Vec<String> {
    let own = ["content-type", "set-cookie", "x-number", "etag"];
    let mut found: Vec<String> = headers
        .into_iter()
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            let name = name.to_ascii_lowercase();
            own.contains(&&*name)
                .then(|| format!("{name}: {}", value.trim()))
        })
        .collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_are_those_of_puma_and_thin() {
    let (puma, thin) = (PeerServer::start("puma"), PeerServer::start("thin"));
    let app = TestApp::boot(APP).await;
    for sent @ (method, target, body) in REQUESTS {
        let expected = puma.answer(sent);
        let answer = app.answer(request(method, target, body)).await.unwrap();
        let found = (answer.status, own_headers(answer.headers), answer.body);
        assert_eq!(found, expected, "puma: {method} {target}");
        assert_eq!(found, thin.answer(sent), "thin: {method} {target}");
    }
}

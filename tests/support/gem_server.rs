//! A gem server on a free port of 127.0.0.1 that speaks the compact index, and can be told to answer badly; and `.gem`
//! files for it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// How a path is answered.
#[derive(Clone)]
#[allow(dead_code, reason = "each test target uses some of them")]
pub(crate) enum Answer {
    /// With these bytes.
    Bytes(Vec<u8>),
    /// With a status and no content.
    Status(u16),
    /// Elsewhere.
    Redirect(String),
    /// With half of these bytes, before the connection ends.
    Half(Vec<u8>),
    /// With bytes that do not end.
    Endless,
    /// Not before the asker has gone.
    Never,
    /// With what is no HTTP.
    Noise,
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    asked: Vec<String>,
    stopped: bool,
}

/// The server; it stops when it is dropped.
pub(crate) struct GemServer {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl GemServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().unwrap().stopped {
                    return;
                }
                let shared = shared.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &shared));
            }
        });
        Self { port, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Publishes a gem; its checksum.
    pub(crate) fn publish(&self, name: &str, version: &str, gem: &[u8]) -> String {
        let checksum = format!("{:x}", Sha256::digest(gem));
        let line = format!("{version} |checksum:{checksum},ruby:>= 2.0\n");
        self.index(name, &line);
        self.set(
            &format!("/gems/{name}-{version}.gem"),
            Answer::Bytes(gem.to_vec()),
        );
        checksum
    }

    /// Adds a line to a gem's index.
    pub(crate) fn index(&self, name: &str, line: &str) {
        let path = format!("/info/{name}");
        let mut state = self.state.lock().unwrap();
        let known = match state.answers.get(&path) {
            Some(Answer::Bytes(known)) => known.clone(),
            _ => b"---\n".to_vec(),
        };
        let index = [&known, line.as_bytes()].concat();
        state.answers.insert(path, Answer::Bytes(index));
    }

    /// Answers `path` so from now on.
    pub(crate) fn set(&self, path: &str, answer: Answer) {
        let mut state = self.state.lock().unwrap();
        state.answers.insert(path.to_owned(), answer);
    }

    /// The paths that were asked for since the last call.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    /// Takes no connections any more.
    pub(crate) fn stop(&self) {
        let was = std::mem::replace(&mut self.state.lock().unwrap().stopped, true);
        if !was {
            // Wakes the listener, which then ends.
            let _ = TcpStream::connect(("127.0.0.1", self.port));
            while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

impl Drop for GemServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let answer = {
        let mut state = state.lock().unwrap();
        state.asked.push(path.clone());
        state.answers.get(&path).cloned()
    };
    // The asker may have gone: that is its right.
    let _ = reply(&mut stream, answer.unwrap_or(Answer::Status(404)));
}

fn reply(stream: &mut TcpStream, answer: Answer) -> std::io::Result<()> {
    let head = |status: u16, fields: &str| {
        format!("HTTP/1.1 {status} Status\r\nConnection: close\r\n{fields}\r\n")
    };
    let sized = |bytes: &[u8]| head(200, &format!("Content-Length: {}\r\n", bytes.len()));
    match answer {
        Answer::Bytes(bytes) => stream.write_all(&[sized(&bytes).as_bytes(), &bytes].concat()),
        Answer::Status(status) => {
            stream.write_all(head(status, "Content-Length: 0\r\n").as_bytes())
        }
        Answer::Redirect(to) => {
            let fields = format!("Location: {to}\r\nContent-Length: 0\r\n");
            stream.write_all(head(302, &fields).as_bytes())
        }
        Answer::Half(bytes) => {
            stream.write_all(&[sized(&bytes).as_bytes(), &bytes[..bytes.len() / 2]].concat())
        }
        Answer::Endless => {
            stream.write_all(head(200, "Transfer-Encoding: chunked\r\n").as_bytes())?;
            loop {
                stream.write_all(b"5\r\n---\n\n\r\n")?;
            }
        }
        Answer::Never => stream.read(&mut [0]).map(drop),
        Answer::Noise => stream.write_all(b"220 mail.example.com ESMTP\r\n\r\n"),
    }
}

/// A `.gem` of these files; `metadata` is added to what RubyGems would write.
pub(crate) fn gem(name: &str, version: &str, files: &[(&str, &str)], metadata: &str) -> Vec<u8> {
    let text = format!(
        "--- !ruby/object:Gem::Specification\nname: {name}\nversion: !ruby/object:Gem::Version\n  version: {version}\nplatform: ruby\nrequire_paths:\n- lib\n{metadata}"
    );
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (*path, text.as_bytes()))
        .collect();
    let (metadata, data) = (gzip(text.as_bytes()), gzip(&tar(&files)));
    tar(&[("metadata.gz", &metadata), ("data.tar.gz", &data)])
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

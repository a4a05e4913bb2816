//! Releases, scaling and restarts under constant load: no request may fail.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use corundum_test_support::http1::RepeatingClient;
use corundum_test_support::node::{Repository, StopOnDrop, TestNode};
use corundum_test_support::wait::wait_until;

/// Clients who keep their connection, and such as come anew each time.
const CLIENTS: (usize, usize) = (3, 3);
/// Between two requests of a client: a few hundred a second in all.
const PAUSE: Duration = Duration::from_millis(5);

/// What became of the requests of all clients.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    answered: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

impl Load {
    /// Runs `work` while an app is asked all the time.
    fn during(port: u16, app: &str, work: impl FnOnce(&Self)) {
        let load = Self::default();
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS.0 {
                scope.spawn(|| load.ask(&mut LoadClient::new(port, app, "keep-alive")));
            }
            for _ in 0..CLIENTS.1 {
                scope.spawn(|| load.ask(&mut LoadClient::new(port, app, "close")));
            }
            let _stop = StopOnDrop(&load.stop);
            load.more(100);
            work(&load);
            load.more(100);
        });
        let failed = load
            .failed
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let answered = load.answered.into_inner();
        println!("{answered} requests answered, {} failed", failed.len());
        assert!(
            failed.is_empty(),
            "{} of {answered}: {:?}",
            failed.len(),
            &failed[..failed.len().min(5)]
        );
    }

    fn ask(&self, client: &mut LoadClient) {
        while !self.stop.load(Ordering::Relaxed) {
            match client.request() {
                Ok(()) => drop(self.answered.fetch_add(1, Ordering::Relaxed)),
                Err(error) => {
                    client.connection = None;
                    self.failed
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(error);
                }
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits until some more requests are answered.
    fn more(&self, count: usize) {
        let until = self.answered.load(Ordering::Relaxed) + count;
        let began = Instant::now();
        while self.answered.load(Ordering::Relaxed) < until {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "nothing is answered"
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Says what follows, with what has been answered so far.
    fn step(&self, what: &str) {
        self.more(50);
        let failed = self
            .failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        println!(
            "{:6} answered, {failed} failed; {what}",
            self.answered.load(Ordering::Relaxed)
        );
    }
}

/// A client that sends one request after another.
struct LoadClient {
    port: u16,
    host: String,
    headers: String,
    connection: Option<RepeatingClient>,
}

impl LoadClient {
    fn new(port: u16, app: &str, connection: &str) -> Self {
        Self {
            port,
            host: format!("{app}.localhost"),
            headers: format!("Connection: {connection}\r\n"),
            connection: None,
        }
    }

    /// Sends one request. It fails unless a whole response with status 200 and a body arrives.
    fn request(&mut self) -> Result<(), String> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => RepeatingClient::connect(self.port, &self.host, &self.headers)
                .map_err(|error| error.to_string())?,
        };
        let response = connection.get().map_err(|error| error.to_string())?;
        if response.status != 200 || response.body.is_empty() {
            return Err(format!("{response:?}"));
        }
        self.connection = (!response.closes).then_some(connection);
        Ok(())
    }
}

fn push(app: &Repository, word: &str) {
    app.write(
        "config.ru",
        // With its length: an answer that is not complete at once would come in chunks, which the client does not read.
        &format!(
            "run ->(e) {{ [200, {{'content-length' => '{}'}}, ['{word}']] }}\n",
            word.len()
        ),
    );
    let push = app.push("main");
    assert!(push.success, "{}", push.text);
}

#[test]
fn releases_and_scaling_fail_no_request() {
    let node = &TestNode::start();
    let app = node.create("busy");
    push(&app, "one");
    let command = |arguments: &[&str]| {
        let done = node.cli(&[arguments, &["--app", "busy"]].concat());
        assert!(done.success, "{arguments:?}: {}", done.text);
    };
    Load::during(node.http(), "busy", |load| {
        load.step("a push");
        push(&app, "two");
        assert_eq!(node.get("busy", "/").1, "two");
        load.step("a rollback");
        command(&["rollback"]);
        assert_eq!(node.get("busy", "/").1, "one");
        load.step("config:set");
        command(&["config:set", "A=1"]);
        load.step("ps:restart");
        for _ in 0..5 {
            command(&["ps:restart"]);
            load.more(20);
        }
        load.step("ps:scale");
        for web in ["web=1", "web=6", "web=2", "web=16"] {
            command(&["ps:scale", web]);
            load.more(50);
        }
        load.step("domains and settings");
        command(&["domains:add", "busy.example"]);
        command(&["domains:remove", "busy.example"]);
        load.step("the end");
    });
}

#[test]
fn a_restart_by_takeover_fails_no_request_and_keeps_what_the_node_has() {
    let mut node = TestNode::start();
    let app = node.create("busy");
    push(&app, "one");
    let port = node.http();
    Load::during(port, "busy", |load| {
        for _ in 0..2 {
            load.step("a takeover");
            let began = Instant::now();
            assert!(node.take_over().success());
            println!("the old process was gone after {:?}", began.elapsed());
            assert_eq!(node.admin("/readyz"), (200, "ready\n".to_owned()));
            load.more(100);
        }
        load.step("a push to the new process");
        push(&app, "two");
        assert_eq!(node.get("busy", "/").1, "two");
    });
    // The node can still be killed and be what it was.
    node.kill_and_restart();
    assert_eq!(node.get("busy", "/").1, "two");
}

#[test]
fn a_signal_has_the_node_replace_itself() {
    let node = TestNode::start();
    push(&node.create("busy"), "one");
    let mut node = node;
    let successor = |node: &TestNode| -> Option<u32> {
        let pattern = format!("--data-dir {} .*--takeover", node.data().display());
        let found = std::process::Command::new("pgrep")
            .args(["-f", "--", &pattern])
            .output()
            .unwrap();
        String::from_utf8(found.stdout)
            .unwrap()
            .lines()
            .next()?
            .parse()
            .ok()
    };
    let mut new = None;
    Load::during(node.http(), "busy", |load| {
        node.signal("HUP");
        assert!(node.wait().success());
        new = successor(&node);
        load.step("replaced");
    });
    let new = new.expect("a successor runs").to_string();
    assert!(
        std::process::Command::new("kill")
            .arg(&new)
            .status()
            .unwrap()
            .success()
    );
    wait_until("the successor ends", Duration::from_secs(10), || {
        successor(&node).is_none()
    });
}

#[test]
fn a_successor_that_dies_leaves_the_node_as_it_was() {
    let node = TestNode::start();
    let app = node.create("busy");
    push(&app, "one");
    Load::during(node.http(), "busy", |load| {
        // It asks as a successor does, and dies when it has the sockets.
        let mut asking =
            std::os::unix::net::UnixStream::connect(node.data().join("takeover.sock")).unwrap();
        asking.write_all(b"?").unwrap();
        let mut word = [0; 4];
        asking.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"http");
        drop(asking);
        load.more(50);
        push(&app, "two");
        assert_eq!(node.get("busy", "/").1, "two");
        assert_eq!(node.admin("/readyz").0, 200);
    });
}

#[test]
fn a_node_that_is_stopped_lets_running_requests_end() {
    let mut node = TestNode::start();
    let app = node.create("slow");
    app.write(
        "config.ru",
        "run ->(e) { sleep 1.5; [200, {}, ['whole']] }\n",
    );
    assert!(app.push("main").success);
    let mut idle = TcpStream::connect(("127.0.0.1", node.http())).unwrap();
    let request = "GET / HTTP/1.1\r\nHost: slow.localhost\r\n\r\n";
    let mut running = TcpStream::connect(("127.0.0.1", node.http())).unwrap();
    running.write_all(request.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    node.signal("TERM");
    let mut answer = String::new();
    running.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("whole"),
        "{answer}"
    );
    assert!(
        answer
            .to_ascii_lowercase()
            .contains("\r\nconnection: close\r\n"),
        "{answer}"
    );
    assert!(node.wait().success());
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_node_listens_at_once_and_requests_wait_for_their_app_to_be_loaded() {
    let mut node = TestNode::start();
    for name in ["one-app", "two-app", "three-app"] {
        push(&node.create(name), name);
    }
    // Images that must be made anew take a while each.
    node.kill();
    node.damage_images();
    node.restart();
    std::thread::scope(|scope| {
        let ask = |name: &'static str| {
            let node = &node;
            scope.spawn(move || assert_eq!(node.get(name, "/"), (200, name.to_owned())))
        };
        let asked = ["three-app", "one-app", "two-app"].map(ask);
        asked.into_iter().for_each(|one| one.join().unwrap());
    });
    wait_until("the node is ready", Duration::from_secs(10), || {
        node.admin("/readyz").0 == 200
    });
}

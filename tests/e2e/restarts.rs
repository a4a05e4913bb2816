//! Releases, scaling, restarts and shutdown under constant load: no request may fail.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use corundum_test_support::http1::RepeatingClient;
use corundum_test_support::node::{Repository, StopOnDrop, TestNode};
use corundum_test_support::wait::wait_until;

/// Clients that keep their connection open, and as many that connect for each request.
const CLIENTS: usize = 3;
/// Time between two requests of a client. All clients together send a few hundred a second.
const PAUSE: Duration = Duration::from_millis(5);

/// Constant load on one app, with its failures.
#[derive(Default)]
struct ConstantLoad {
    stop: AtomicBool,
    answered: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

impl ConstantLoad {
    /// Runs `work` while clients send requests to `app`.
    ///
    /// # Panics
    ///
    /// Panics if a request fails.
    fn during(port: u16, app: &str, work: impl FnOnce(&Self)) {
        let load = Self::default();
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    load.send_until_stopped(&mut LoadClient::new(port, app, "keep-alive"))
                });
            }
            for _ in 0..CLIENTS {
                scope.spawn(|| load.send_until_stopped(&mut LoadClient::new(port, app, "close")));
            }
            let _stop = StopOnDrop(&load.stop);
            load.wait_for(100);
            work(&load);
            load.wait_for(100);
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

    fn send_until_stopped(&self, client: &mut LoadClient) {
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

    /// Waits until `count` more requests are answered.
    fn wait_for(&self, count: usize) {
        let until = self.answered.load(Ordering::Relaxed) + count;
        let began = Instant::now();
        while self.answered.load(Ordering::Relaxed) < until {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "no request is answered"
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Prints the next step, with the number of requests so far.
    fn print_step(&self, what: &str) {
        self.wait_for(50);
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

/// Deploys an app that answers with `word`.
fn deploy(app: &Repository, word: &str) {
    app.write(
        "config.ru",
        // The length keeps the response from being chunked, which the client does not read.
        &format!(
            "run ->(e) {{ [200, {{'content-length' => '{}'}}, ['{word}']] }}\n",
            word.len()
        ),
    );
    let push = app.push("main");
    push.assert_success();
}

#[test]
fn releases_restarts_and_scaling_fail_no_request() {
    let node = &TestNode::start();
    let app = node.create("busy");
    deploy(&app, "one");
    let command = |arguments: &[&str]| {
        let done = node.cli(&[arguments, &["--app", "busy"]].concat());
        assert!(done.success, "{arguments:?}: {}", done.text);
    };
    ConstantLoad::during(node.http(), "busy", |load| {
        load.print_step("a push");
        deploy(&app, "two");
        assert_eq!(node.get("busy", "/").1, "two");
        load.print_step("a rollback");
        command(&["rollback"]);
        assert_eq!(node.get("busy", "/").1, "one");
        load.print_step("config:set");
        command(&["config:set", "A=1"]);
        load.print_step("ps:restart");
        for _ in 0..5 {
            command(&["ps:restart"]);
            load.wait_for(20);
        }
        load.print_step("ps:scale");
        for web in ["web=1", "web=6", "web=2", "web=16"] {
            command(&["ps:scale", web]);
            load.wait_for(50);
        }
        load.print_step("domains and settings");
        command(&["domains:add", "busy.example"]);
        command(&["domains:remove", "busy.example"]);
        load.print_step("the end");
    });
}

#[test]
fn a_takeover_fails_no_request_and_keeps_all_apps() {
    let mut node = TestNode::start();
    let app = node.create("busy");
    deploy(&app, "one");
    let port = node.http();
    ConstantLoad::during(port, "busy", |load| {
        for _ in 0..2 {
            load.print_step("a takeover");
            let began = Instant::now();
            assert!(node.take_over().success());
            println!("the old process was gone after {:?}", began.elapsed());
            assert_eq!(node.admin("/readyz"), (200, "ready\n".to_owned()));
            load.wait_for(100);
        }
        load.print_step("a push to the new process");
        deploy(&app, "two");
        assert_eq!(node.get("busy", "/").1, "two");
    });
    // The new process is an ordinary server: it can be killed and restarted.
    node.kill_and_restart();
    assert_eq!(node.get("busy", "/").1, "two");
}

#[test]
fn sighup_replaces_the_server_process_without_a_failed_request() {
    let node = TestNode::start();
    deploy(&node.create("busy"), "one");
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
    ConstantLoad::during(node.http(), "busy", |load| {
        node.signal("HUP");
        assert!(node.wait().success());
        new = successor(&node);
        load.print_step("replaced");
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
fn a_takeover_by_a_process_that_dies_leaves_the_node_unchanged() {
    let node = TestNode::start();
    let app = node.create("busy");
    deploy(&app, "one");
    ConstantLoad::during(node.http(), "busy", |load| {
        // It requests the sockets as a new process does, and disconnects once it has them.
        let mut successor =
            std::os::unix::net::UnixStream::connect(node.data().join("takeover.sock")).unwrap();
        successor.write_all(b"?").unwrap();
        let mut word = [0; 4];
        successor.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"http");
        drop(successor);
        load.wait_for(50);
        deploy(&app, "two");
        assert_eq!(node.get("busy", "/").1, "two");
        assert_eq!(node.admin("/readyz").0, 200);
    });
}

#[test]
fn sigterm_completes_running_requests() {
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
fn requests_wait_while_their_app_is_loaded_at_startup() {
    let mut node = TestNode::start();
    for name in ["one-app", "two-app", "three-app"] {
        deploy(&node.create(name), name);
    }
    // Rebuilding damaged images makes the start slow.
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

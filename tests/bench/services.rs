//! Apps with services: a request with one query, SQLite on a volume, jobs of Sidekiq, and live WebSockets.
//!
//! Native Ruby runs the same code with the same versions of the gems, on Debian's Ruby.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use corundum_test_support::app_gems::{APP_GEMS, node_with_app_gems};
use corundum_test_support::node::{Repository, TestNode};
use corundum_test_support::ports::free_port;
use corundum_test_support::postgres::PostgresServer;
use corundum_test_support::process::ChildProcess;
use corundum_test_support::wait::poll;
use corundum_test_support::websocket::WebSocketClient;

use crate::machine::{median, on_core, private_kib};
use crate::peers::{PeerServer, ServerKind};
use crate::table::{Better, Row};
use crate::{LOAD, SERVERS, wrk};

const APPS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/bench/apps");
const NATIVE_GEMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/native-gems");
/// Jobs of a round.
const JOBS: usize = 3000;
/// Commits that the app makes for a request, as its file says.
const WRITES: usize = 100;
/// Frames that each WebSocket sends when all are open.
const FRAMES: usize = 2;

/// Names of the rows, in their order.
pub(crate) const SERVICE_ROWS: [&str; 9] = [
    "hot request with a Redis GET, a core",
    "hot request with a PostgreSQL SELECT, a core",
    "SQLite on a volume, reads of a dyno",
    "SQLite on a volume, durable writes of a dyno",
    "SQLite on a volume, durable writes of 16 dynos",
    "Sidekiq jobs, a process of 5 threads, a core",
    "live WebSockets, each a dyno",
    "frames of live WebSockets, echoed",
    "memory of a live WebSocket's dyno",
];

/// Measures all rows, with `sockets` WebSockets.
pub(crate) fn rows(rounds: usize, sockets: usize) -> Vec<Row> {
    let node = on_core(SERVERS, || node_with_app_gems(&[]));
    let Some(node) = node else { return Vec::new() };
    let redis = RedisServer::start();
    let mut rows = requests(&node, &redis, rounds);
    rows.extend(sqlite(&node, rounds));
    rows.push(jobs(&node, &redis, rounds));
    rows.extend(websockets(&node, sockets));
    rows
}

fn app(name: &str) -> PathBuf {
    Path::new(APPS).join(name)
}

fn push(node: &TestNode, name: &str, ports: &[u16], config: &[String]) -> Repository {
    let repository = node.create(name);
    repository.copy(app(name).to_str().unwrap());
    for port in ports {
        let target = format!("tcp://127.0.0.1:{port}");
        node.cli(&["outbound:add", &target, "-a", name])
            .assert_success();
    }
    for variable in config {
        node.cli(&["config:set", variable, "-a", name])
            .assert_success();
    }
    repository
}

/// The search path of native Ruby for directories of gems.
fn ruby_library(directories: &[&str]) -> String {
    let library = |gem: &&str| format!("{APP_GEMS}/gems/{gem}");
    directories
        .iter()
        .map(library)
        .collect::<Vec<_>>()
        .join(":")
}

/// Requests with one query, beside puma with one thread.
fn requests(node: &TestNode, redis: &RedisServer, rounds: usize) -> Vec<Row> {
    let Some(postgres) = on_core(LOAD, PostgresServer::start) else {
        return Vec::new();
    };
    let config = [
        format!("REDIS_PORT={}", redis.port),
        format!("POSTGRES_PORT={}", postgres.port()),
    ];
    redis.command("SET key value");
    let made = postgres.query(
        &postgres.admin(),
        "create table names (id integer primary key, name text not null); \
         insert into names select n, 'name ' || n from generate_series(1, 1000) n",
    );
    made.unwrap();
    push(node, "services", &[redis.port, postgres.port()], &config).assert_pushed();
    let environ: Vec<(&str, &str)> = config
        .iter()
        .filter_map(|variable| variable.split_once('='))
        .collect();
    let library = ruby_library(&["redis-client-0.22.2/lib", "connection_pool-2.4.1/lib"]);
    let environ = [&environ[..], &[("RUBYLIB", library.as_str())]].concat();
    let puma = on_core(SERVERS, || {
        PeerServer::start_with(ServerKind::Puma, &app("services"), free_port(), &environ)
    });
    let row = |what, path| {
        let (mut ours, mut natives) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(wrk(node.http(), "services.localhost", path).per_second);
            natives.push(wrk(puma.port, "localhost", path).per_second);
        }
        Row {
            what,
            unit: "/s",
            corundum: median(&ours),
            peer: Some(("puma", median(&natives))),
            at_least: Some(0.5),
            better: Better::More,
        }
    };
    vec![
        row(SERVICE_ROWS[0], "/get"),
        row(SERVICE_ROWS[1], "/select"),
    ]
}

/// SQLite on a volume beside native Ruby on the same disk.
fn sqlite(node: &TestNode, rounds: usize) -> Vec<Row> {
    let repository = push(node, "sqlite", &[], &[]);
    let gem = "sqlite3-2.9.6.gem";
    let Ok(bytes) = std::fs::read(Path::new(NATIVE_GEMS).join(gem)) else {
        eprintln!("  skipped: {gem} is missing (script/native-gems)");
        return Vec::new();
    };
    repository.write_bytes(&format!("vendor/cache/{gem}"), &bytes);
    node.cli(&["settings:set", "volume=100MB", "-a", "sqlite"])
        .assert_success();
    repository.assert_pushed();
    node.cli(&["ps:scale", "web=16", "-a", "sqlite"])
        .assert_success();
    // The same disk as the volume's.
    let native = node.data().join("native.sqlite3");
    let ask = |action: &str| -> f64 {
        let (status, text) = node.get("sqlite", &format!("/{action}"));
        assert_eq!(status, 200, "{text}");
        text.trim().parse().unwrap()
    };
    let run = |action: &str| -> f64 {
        let output = on_core(SERVERS, || {
            let mut ruby = Command::new("ruby");
            ruby.arg(app("sqlite").join("work.rb"))
                .arg(&native)
                .arg(action);
            ruby.output().unwrap()
        });
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = text.trim().parse();
        number.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    };
    assert_eq!(ask("prepare"), run("prepare"));
    let row = |what, ours: &[f64], natives: &[f64], at_least| Row {
        what,
        unit: "/s",
        corundum: median(ours),
        peer: Some(("native", median(natives))),
        at_least: Some(at_least),
        better: Better::More,
    };
    let mut results: [Vec<f64>; 6] = Default::default();
    for _ in 0..rounds {
        results[0].push(ask("read"));
        results[1].push(run("read"));
        results[2].push(ask("write"));
        results[3].push(run("write"));
        results[4].push(together(16, || assert!(ask("write") > 0.0)));
        results[5].push(together(16, || assert!(run("write") > 0.0)));
    }
    let [read, native_read, write, native_write, many, native_many] = &results;
    vec![
        row(SERVICE_ROWS[2], read, native_read, 0.4),
        row(SERVICE_ROWS[3], write, native_write, 0.7),
        row(SERVICE_ROWS[4], many, native_many, 0.7),
    ]
}

/// Carries out `work`, which commits [`WRITES`] times, several times at once. Returns the commits of each second.
fn together(count: usize, work: impl Fn() + Sync) -> f64 {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(&work);
        }
    });
    (count * WRITES) as f64 / started.elapsed().as_secs_f64()
}

/// Jobs of Sidekiq in a worker, beside a native process.
fn jobs(node: &TestNode, redis: &RedisServer, rounds: usize) -> Row {
    let url = format!("REDIS_URL=redis://127.0.0.1:{}/1", redis.port);
    let repository = push(node, "sidekiq", &[redis.port], &[url]);
    repository.assert_pushed();
    let library = ruby_library(&[
        "sidekiq-7.3.2/lib",
        "redis-client-0.22.2/lib",
        "connection_pool-2.4.1/lib",
        "concurrent-ruby-1.3.5/lib/concurrent-ruby",
        "rack-3.1.20/lib",
    ]);
    let (mut ours, mut natives) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        redis.enqueue(1, JOBS);
        let scale = |change| {
            node.cli(&["ps:scale", change, "-a", "sidekiq"])
                .assert_success()
        };
        ours.push(redis.drained(1, JOBS, || scale("worker=1")));
        scale("worker=0");
        redis.enqueue(2, JOBS);
        let mut native = None;
        natives.push(redis.drained(2, JOBS, || {
            native = Some(on_core(SERVERS, || {
                let mut ruby = Command::new("ruby");
                ruby.current_dir(app("sidekiq"))
                    .env("RUBYLIB", &library)
                    .env("REDIS_URL", format!("redis://127.0.0.1:{}/2", redis.port))
                    .arg(format!("{APP_GEMS}/gems/sidekiq-7.3.2/bin/sidekiq"))
                    .args(["-r", "./jobs.rb", "-c", "5"])
                    .stdout(Stdio::null());
                ChildProcess::spawn(&mut ruby)
            }));
        }));
        drop(native);
    }
    Row {
        what: SERVICE_ROWS[5],
        unit: "/s",
        corundum: median(&ours),
        peer: Some(("native", median(&natives))),
        at_least: Some(0.5),
        better: Better::More,
    }
}

/// WebSockets that are all open at once, and then all echo.
fn websockets(node: &TestNode, count: usize) -> Vec<Row> {
    push(node, "sockets", &[], &[]).assert_pushed();
    let before = private_kib(node.id());
    let mut clients: Vec<WebSocketClient> = Vec::new();
    while clients.len() < count {
        let (stream, head) = WebSocketClient::request(node, "sockets", "/", "");
        if !head.starts_with("HTTP/1.1 101 ") {
            eprintln!("  connection {}: {head}", clients.len());
            break;
        }
        clients.push(WebSocketClient::from(stream));
    }
    let started = Instant::now();
    let mut echoed = 0;
    for frame in 0..FRAMES {
        let text = format!("frame {frame}");
        clients
            .iter_mut()
            .for_each(|client| client.send(1, text.as_bytes()));
        let answers = clients.iter_mut().filter_map(WebSocketClient::receive);
        echoed += answers
            .filter(|(_, payload)| payload == text.as_bytes())
            .count();
    }
    let rate = echoed as f64 / started.elapsed().as_secs_f64();
    let memory = private_kib(node.id()).saturating_sub(before) as f64 / clients.len() as f64;
    let row = |what, unit, corundum, at_least, better| Row {
        what,
        unit,
        corundum,
        peer: None,
        at_least,
        better,
    };
    let live = echoed as f64 / FRAMES as f64;
    vec![
        row(SERVICE_ROWS[6], "", live, Some(5000.0), Better::More),
        row(SERVICE_ROWS[7], "/s", rate, None, Better::More),
        row(SERVICE_ROWS[8], "MiB", memory / 1024.0, None, Better::Less),
    ]
}

/// Debian's Redis on the core of the load.
struct RedisServer {
    port: u16,
    _process: ChildProcess,
}

impl RedisServer {
    fn start() -> Self {
        let port = free_port();
        let process = on_core(LOAD, || {
            let mut server = Command::new("redis-server");
            server.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
            server.args(["--save", "", "--appendonly", "no"]);
            ChildProcess::spawn_server(&mut server, SocketAddr::from(([127, 0, 0, 1], port)))
        });
        Self {
            port,
            _process: process,
        }
    }

    /// Sends inline commands and returns the answer to the last.
    fn command(&self, commands: &str) -> String {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let text = format!("{commands}\r\nQUIT\r\n");
        socket.write_all(text.as_bytes()).unwrap();
        let mut answers = String::new();
        socket.read_to_string(&mut answers).unwrap();
        let answer = answers.trim_end().trim_end_matches("+OK").trim_end();
        answer.lines().last().unwrap_or_default().to_owned()
    }

    /// Queues jobs as Sidekiq's client does.
    fn enqueue(&self, database: u32, count: usize) {
        let mut commands = format!("SELECT {database}\r\nFLUSHDB\r\nSADD queues default\r\n");
        for number in 0..count {
            let job = format!(
                r#"{{"retry":true,"queue":"default","class":"CountJob","args":[1],"jid":"{number:024x}","created_at":1.0,"enqueued_at":1.0}}"#
            );
            let quoted = job.replace('"', "\\\"");
            commands += &format!("LPUSH queue:default \"{quoted}\"\r\n");
        }
        self.command(commands.trim_end());
    }

    /// Starts a worker, and returns the jobs of each second from the first one that is done to the last.
    fn drained(&self, database: u32, count: usize, start: impl FnOnce()) -> f64 {
        let done = || {
            let sum = self.command(&format!("SELECT {database}\r\nGET sum"));
            sum.parse::<usize>().unwrap_or(0)
        };
        start();
        let first = poll(Duration::from_secs(60), || {
            Some((done(), Instant::now())).filter(|(done, _)| *done > 0)
        });
        let (first, started) = first.unwrap();
        let ended = poll(Duration::from_secs(120), || {
            (done() >= count).then(Instant::now)
        });
        (count - first) as f64 / (ended.unwrap() - started).as_secs_f64()
    }
}

//! `script/bench`: Corundum beside native MRI with thin and puma, side by side in one run on one machine.
//!
//! Servers run on the first core and their load on the second, so that all results are those of one core. Competitors
//! are measured in turns, and the table shows medians: ratios vary less than times on a noisy machine.

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that fails stops with the place of the failure"
)]

mod dynos;
mod front;
mod machine;
mod micro;
mod network;
mod peers;
mod router;
mod services;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Parser;
use corundum_pack::ruby::{Series, pack_path};
use corundum_test_support::http1::RepeatingClient;
use corundum_test_support::node::{Repository, TestNode, pack_cache};
use machine::{median, median_time, on_core};
use peers::{PeerServer, ServerKind};
use table::{Better, Row};

/// The allocator of the node: benchmarks of the router measure the memory of this process.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures Corundum beside native MRI with thin and puma
#[derive(Parser)]
struct BenchArguments {
    /// Run fewer rounds; the results are too noisy to keep
    #[arg(long)]
    quick: bool,
    /// Measure only this part
    #[arg(long)]
    only: Option<BenchPart>,
    /// Live dynos to keep at once
    #[arg(long, default_value_t = 5000)]
    dynos: u32,
    /// Requests to one app for the measurement of memory growth [default: 100000, with --quick 2000]
    #[arg(long)]
    requests: Option<usize>,
    /// Write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the table to this SVG file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Run as the server of a part
    #[arg(long, hide = true)]
    serve: Option<router::ServerRole>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// A part of the table.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum BenchPart {
    Hot,
    Cold,
    Push,
    Soak,
    Dynos,
    Ruby,
    Network,
    /// Databases, jobs and WebSockets
    Services,
    Front,
    /// Memory of idle connections
    Idle,
    /// Latency that the router adds to a request
    Miss,
    /// Latency beside slow clients
    Slow,
}

impl BenchPart {
    /// Returns whether the part measures the router without a node.
    fn is_of_router(self) -> bool {
        matches!(self, Self::Idle | Self::Miss | Self::Slow)
    }
}

impl BenchArguments {
    /// Returns whether to measure a part, and prints its name if so.
    fn wants(&self, part: BenchPart, what: &str) -> bool {
        let wanted = self.only.is_none_or(|only| only == part);
        if wanted {
            eprintln!("… {what}");
        }
        wanted
    }
}

/// Cores of the servers and of their load.
const SERVERS: usize = 0;
const LOAD: usize = 1;

const RACK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/bench/apps/rack");
const SINATRA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/bench/apps/sinatra");

fn main() {
    let arguments = BenchArguments::parse();
    if let Some(what) = arguments.serve {
        return router::serve(what);
    }
    let rounds = if arguments.quick { 1 } else { 5 };
    let mut rows = router_rows(&arguments, rounds);
    if !arguments.only.is_some_and(BenchPart::is_of_router) {
        rows.extend(app_rows(&arguments, rounds));
    }
    rows.sort_by_key(|row| ORDER.iter().position(|what| *what == row.what));
    print!("\n{}", table::text(&rows));
    if let Some(path) = arguments.json {
        std::fs::write(path, serde_json::to_vec_pretty(&rows).unwrap()).unwrap();
    }
    if let Some(path) = arguments.svg {
        std::fs::write(path, table::svg(&rows)).unwrap();
    }
}

/// Measures the router without a node.
fn router_rows(arguments: &BenchArguments, rounds: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    if arguments.wants(BenchPart::Idle, "idle connections") {
        rows.extend(router::idle(if arguments.quick { 1_000 } else { 10_000 }));
    }
    if arguments.wants(BenchPart::Miss, "latency added by the router") {
        rows.extend(router::miss(rounds));
    }
    if arguments.wants(BenchPart::Slow, "slow clients") {
        rows.extend(router::slow(if arguments.quick { 2_000 } else { 20_000 }));
    }
    rows
}

/// Measures everything that needs a node with apps.
fn app_rows(arguments: &BenchArguments, rounds: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    let node = on_core(SERVERS, TestNode::start);
    let apps = push_all(&node);
    if arguments.wants(BenchPart::Hot, "hot requests") {
        rows.extend(hot(&node, rounds));
    }
    if arguments.wants(BenchPart::Cold, "no dyno to first byte") {
        rows.extend(cold(&node, rounds));
    }
    if arguments.wants(BenchPart::Push, "push to live") {
        rows.push(push_to_live(&node, &apps.sinatra, rounds));
    }
    if arguments.wants(BenchPart::Soak, "100,000 requests to the Sinatra sample") {
        let usual = if arguments.quick { 2_000 } else { 100_000 };
        rows.push(soak(&node, arguments.requests.unwrap_or(usual)));
    }
    if arguments.wants(BenchPart::Network, "apps on the network") {
        let waiting = if arguments.quick { 500 } else { 2000 };
        rows.extend(network::rows(&node, rounds, waiting));
    }
    if arguments.wants(BenchPart::Front, "cache hits and files") {
        rows.extend(front::rows(&node, rounds));
    }
    drop(node);
    if arguments.wants(BenchPart::Dynos, "dynos without a router") {
        rows.extend(dyno_rows(&apps, arguments.dynos));
    }
    if arguments.wants(BenchPart::Services, "databases, jobs and WebSockets") {
        let sockets = if arguments.quick { 1000 } else { 12_000 };
        rows.extend(services::rows(rounds, sockets));
    }
    if arguments.wants(BenchPart::Ruby, "Ruby in a dyno") {
        let pack = pack_path(Series::DEFAULT.best(), &pack_cache());
        rows.extend(on_core(SERVERS, || micro::rows(&pack, rounds)));
    }
    rows
}

/// Rows in the order of the table.
const ORDER: [&str; 42] = [
    "instantiate a dyno",
    "no dyno → first byte, bare Rack",
    "no dyno → first byte, Sinatra",
    "spawn → first byte, bare Rack",
    "spawn → first byte, Sinatra",
    "private memory, bare Rack",
    "private memory, Sinatra",
    "hot bare Rack, a core",
    "hot Sinatra, a core",
    "hot bare Rack, a core (puma)",
    "push of a changed app → live",
    "live dynos, each having served",
    "pack code load",
    "memory growth over all requests to one app",
    "Ruby's speed, geometric mean",
    "Ruby's speed, worst",
    "Ruby's speed, worst that throws",
    "processor benches, worst",
    network::NETWORK_ROWS[0],
    network::NETWORK_ROWS[1],
    network::NETWORK_ROWS[2],
    network::NETWORK_ROWS[3],
    network::NETWORK_ROWS[4],
    services::SERVICE_ROWS[0],
    services::SERVICE_ROWS[1],
    services::SERVICE_ROWS[2],
    services::SERVICE_ROWS[3],
    services::SERVICE_ROWS[4],
    services::SERVICE_ROWS[5],
    services::SERVICE_ROWS[6],
    services::SERVICE_ROWS[7],
    services::SERVICE_ROWS[8],
    "cache hits of 1 KiB, a core",
    "cache hits of 64 KiB, a core",
    "files of 1 KiB, a core",
    "files of 64 KiB, a core",
    "idle connection",
    "added by the router, p50",
    "added by the router, p99",
    "p99 beside slow headers",
    "p99 beside slow bodies",
    "p99 beside slow readers",
];

/// The apps of the node, with copies of their images and slugs.
struct PushedApps {
    /// Directory of the copies, which outlive the releases and the node.
    kept: tempfile::TempDir,
    sinatra: Repository,
    rack_image: AppImage,
    sinatra_image: AppImage,
}

/// AppImage and slug of an app.
struct AppImage {
    image: PathBuf,
    slug: PathBuf,
}

fn push_all(node: &TestNode) -> PushedApps {
    let fresh = "{\"isolation\": \"request\"}";
    let push = |name: &str, from: &str, about: Option<&str>| {
        let app = node.create(name);
        app.copy(from);
        if let Some(about) = about {
            app.write("app.json", about);
        }
        let push = app.push("main");
        push.assert_success();
        app
    };
    let image_of = |name: &str, from: &str, about: Option<&str>| {
        let before = built(node);
        let app = push(name, from, about);
        let [image, slug] = built(node);
        let new = |after: Vec<PathBuf>, before: &[PathBuf]| {
            after
                .into_iter()
                .find(|path| !before.contains(path))
                .unwrap()
        };
        let image = new(image, &before[0]);
        let slug = new(slug, &before[1]);
        (app, AppImage { image, slug })
    };
    let (_, rack_image) = image_of("hot-rack", RACK, None);
    push("fresh-rack", RACK, Some(fresh));
    push("fresh-sinatra", SINATRA, Some(fresh));
    push("hot-sinatra", SINATRA, None);
    let (sinatra, sinatra_image) = image_of("sinatra", SINATRA, Some("{}"));
    let kept = tempfile::tempdir().unwrap();
    PushedApps {
        sinatra,
        rack_image: keep(&rack_image, &kept.path().join("rack")),
        sinatra_image: keep(&sinatra_image, &kept.path().join("sinatra")),
        kept,
    }
}

fn built(node: &TestNode) -> [Vec<PathBuf>; 2] {
    ["images", "slugs"].map(|kind| {
        let entries = std::fs::read_dir(node.data().join(kind)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    })
}

fn keep(built: &AppImage, place: &Path) -> AppImage {
    let copied = Command::new("cp")
        .args(["-r", "--sparse=always"])
        .args([&built.image, place])
        .status();
    assert!(copied.unwrap().success());
    let slug = place.with_extension("tar");
    std::fs::copy(&built.slug, &slug).unwrap();
    AppImage {
        image: place.to_owned(),
        slug,
    }
}

/// Measures requests per second of a core, in turns with the competitors.
fn hot(node: &TestNode, rounds: usize) -> Vec<Row> {
    let start =
        |kind, app: &str, port| on_core(SERVERS, || PeerServer::start(kind, Path::new(app), port));
    let thin = [
        start(ServerKind::Thin, RACK, 9311),
        start(ServerKind::Thin, SINATRA, 9312),
    ];
    let puma = start(ServerKind::Puma, RACK, 9313);
    let mut results: [Vec<f64>; 5] = Default::default();
    for _ in 0..rounds {
        results[0].push(wrk(node.http(), "hot-rack.localhost", "/").per_second);
        results[1].push(wrk(thin[0].port, "localhost", "/").per_second);
        results[2].push(wrk(puma.port, "localhost", "/").per_second);
        results[3].push(wrk(node.http(), "hot-sinatra.localhost", "/").per_second);
        results[4].push(wrk(thin[1].port, "localhost", "/").per_second);
    }
    let [rack, rack_thin, rack_puma, sinatra, sinatra_thin] = results.map(|f| median(&f));
    let row = |what, corundum, peer, at_least| Row {
        what,
        unit: "/s",
        corundum,
        peer: Some(peer),
        at_least,
        better: Better::More,
    };
    vec![
        row(
            "hot bare Rack, a core",
            rack,
            ("thin", rack_thin),
            Some(0.6),
        ),
        row("hot Sinatra, a core", sinatra, ("thin", sinatra_thin), None),
        row(
            "hot bare Rack, a core (puma)",
            rack,
            ("puma", rack_puma),
            None,
        ),
    ]
}

/// Result of wrk over eight connections from the other core.
struct WrkResult {
    requests: f64,
    per_second: f64,
}

fn wrk(port: u16, host: &str, path: &str) -> WrkResult {
    let url = format!("http://127.0.0.1:{port}{path}");
    let header = format!("Host: {host}");
    let output = on_core(LOAD, || {
        Command::new("wrk")
            .args(["-t1", "-c8", "-d3", "-H", &header, &url])
            .output()
            .unwrap()
    });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("Non-2xx"), "{text}");
    let before = |mark: &str| Some(text.lines().find(|line| line.contains(mark))?.trim());
    let requests = before(" requests in ").and_then(|line| line.split(' ').next()?.parse().ok());
    let per_second = before("Requests/sec:").and_then(|line| line.rsplit(' ').next()?.parse().ok());
    WrkResult {
        requests: requests.unwrap(),
        per_second: per_second.unwrap(),
    }
}

/// Measures the first byte of apps without a dyno, and the start of a process of thin.
fn cold(node: &TestNode, rounds: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, what, spawn, peer, wanted) in [
        ("fresh-rack", ORDER[1], ORDER[3], RACK, 1.0),
        ("fresh-sinatra", ORDER[2], ORDER[4], SINATRA, 2.0),
    ] {
        let times = on_core(LOAD, || fresh_dynos(node.http(), name, 100 * rounds));
        let corundum = median_time(&times, 1e3);
        let spawns: Vec<Duration> = (0..rounds)
            .map(|_| {
                on_core(SERVERS, || {
                    PeerServer::start(ServerKind::Thin, Path::new(peer), 9314).spawn
                })
            })
            .collect();
        let row = |what, peer, at_least| Row {
            what,
            unit: "ms",
            corundum,
            peer,
            at_least: Some(at_least),
            better: Better::Less,
        };
        rows.push(row(what, None, wanted));
        rows.push(row(spawn, Some(("thin", median_time(&spawns, 1e3))), 300.0));
    }
    rows
}

/// Sends `count` requests to an app that starts a dyno for each.
fn fresh_dynos(port: u16, name: &str, count: usize) -> Vec<Duration> {
    let mut client = RepeatingClient::connect(port, &format!("{name}.localhost"), "").unwrap();
    let mut times = Vec::new();
    for _ in 0..count {
        let answer = client.get().unwrap();
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (200, &b"Hello\n"[..])
        );
        times.push(answer.first_byte);
        // The last dyno ends during this pause.
        std::thread::sleep(Duration::from_millis(3));
    }
    times
}

/// Measures the time from a push of a changed app to the response of its new version.
fn push_to_live(node: &TestNode, app: &Repository, rounds: usize) -> Row {
    let mut times = Vec::new();
    for round in 0..rounds.max(3) {
        let body = format!("version {round} of {}", std::process::id());
        app.write(
            "config.ru",
            &format!(
                "require 'sinatra/base'\nclass Hello < Sinatra::Base\n  get('/') {{ '{body}' }}\nend\nrun Hello\n"
            ),
        );
        app.commit();
        let start = Instant::now();
        let push = app.push("main");
        push.assert_success();
        assert_eq!(node.get("sinatra", "/").1, body);
        times.push(start.elapsed());
    }
    Row {
        what: "push of a changed app → live",
        unit: "s",
        corundum: median_time(&times, 1.0),
        peer: None,
        at_least: Some(3.0),
        better: Better::Less,
    }
}

/// Measures the growth of the node's memory over many requests, after the first tenth of them. No request may fail.
fn soak(node: &TestNode, count: usize) -> Row {
    let app = node.create("guestbook");
    app.copy_sample("guestbook");
    let push = app.push("main");
    push.assert_success();
    let mut client = RepeatingClient::connect(node.http(), "guestbook.localhost", "").unwrap();
    let mut memory = Vec::new();
    for request in 0..count {
        let answer = client.get().unwrap();
        assert_eq!(answer.status, 200, "request {request}");
        if request % (count / 10) == count / 10 - 1 {
            memory.push(machine::resident_kib(node.id()) as f64 / 1024.0);
        }
    }
    eprintln!("  MiB of the node after each tenth: {memory:.0?}");
    eprintln!("  {count} requests, none failed");
    let growth = memory.last().unwrap() - memory.first().unwrap();
    Row {
        what: "memory growth over all requests to one app",
        unit: "MiB",
        corundum: growth,
        peer: None,
        at_least: Some(64.0),
        better: Better::Less,
    }
}

/// Measures instances and their memory, without a router.
fn dyno_rows(apps: &PushedApps, dynos: u32) -> Vec<Row> {
    assert!(apps.kept.path().is_dir());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let pack = pack_path(Series::DEFAULT.best(), &pack_cache());
    let open = |image: &AppImage, dynos| {
        runtime.block_on(dynos::DynoBench::open(
            &pack,
            &image.image,
            &image.slug,
            dynos,
        ))
    };
    let row = |what, unit, corundum, peer, at_least| Row {
        what,
        unit,
        corundum,
        peer,
        at_least,
        better: Better::Less,
    };
    let mut rows = Vec::new();
    let mut loads = Vec::new();
    for (what, image, peer) in [
        (ORDER[5], &apps.rack_image, RACK),
        (ORDER[6], &apps.sinatra_image, SINATRA),
    ] {
        let bench = open(image, 600);
        loads.push(bench.pack_load);
        let starts = on_core(SERVERS, || runtime.block_on(bench.starts(500)));
        eprintln!(
            "  {what}: instantiate {:.0} µs, first byte without router {:.0} µs",
            median_time(&starts.instantiate, 1e6),
            median_time(&starts.first_byte, 1e6)
        );
        let live = runtime.block_on(bench.hold(500));
        eprintln!("  and {:.0} KiB of page tables each", live.page_table_kib);
        let thin = on_core(SERVERS, || {
            PeerServer::start(ServerKind::Thin, Path::new(peer), 9315)
        });
        let process = machine::private_kib(thin.id()) as f64 / 1024.0;
        let private = live.private_kib / 1024.0;
        rows.push(row(what, "MiB", private, Some(("thin", process)), None));
        if image.image == apps.rack_image.image {
            let instantiate = median_time(&starts.instantiate, 1e6);
            rows.push(row(ORDER[0], "µs", instantiate, None, Some(100.0)));
        }
    }
    let many = open(&apps.sinatra_image, dynos + 100);
    let start = Instant::now();
    let live = runtime.block_on(many.hold(dynos as usize));
    eprintln!(
        "  {} dynos of Sinatra in {:.1} s, {:.0} KiB each and {:.0} KiB of page tables",
        live.count,
        start.elapsed().as_secs_f64(),
        live.private_kib,
        live.page_table_kib
    );
    rows.push(Row {
        better: Better::More,
        ..row(
            "live dynos, each having served",
            "",
            live.count as f64,
            None,
            Some(5000.0),
        )
    });
    rows.push(row(
        "pack code load",
        "ms",
        median_time(&loads, 1e3),
        None,
        Some(50.0),
    ));
    rows
}

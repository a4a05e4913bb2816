//! Cache hits and static files of one core, beside the proxies of Debian.

mod proxies;

use std::path::Path;

use proxies::{Proxy, ProxyKind};

use crate::machine::{cpu_time, median, on_core};
use crate::peers::{PeerServer, ServerKind};
use crate::table::{Better, Row};
use crate::{LOAD, SERVERS};
use corundum_test_support::node::TestNode;

const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/bench/apps/pages");
const HOST: &str = "pages.localhost";

/// Paths that are requested, with the names of their rows.
const CACHED: [(&str, &str); 2] = [
    ("/1k", "cache hits of 1 KiB, a core"),
    ("/64k", "cache hits of 64 KiB, a core"),
];
const FILES: [(&str, &str); 2] = [
    ("/file-1k.txt", "files of 1 KiB, a core"),
    ("/file-64k.txt", "files of 64 KiB, a core"),
];

/// Measures requests per second of a core without a dyno, in turns with the proxies.
pub(crate) fn rows(node: &TestNode, rounds: usize) -> Vec<Row> {
    let app = node.create("pages");
    app.copy(PAGES);
    for (path, kibibytes) in [("public/file-1k.txt", 1), ("public/file-64k.txt", 64)] {
        app.write(path, &"0123456789abcde\n".repeat(kibibytes * 64));
    }
    let push = app.push("main");
    push.assert_success();
    let origin = on_core(LOAD, || {
        PeerServer::start(ServerKind::Thin, Path::new(PAGES), 9321)
    });
    let public = app.path().join("public");
    let peers: Vec<(ProxyKind, Proxy)> = (9322..)
        .zip(ProxyKind::ALL)
        .map(|(port, kind)| {
            let start = || Proxy::start(kind, port, origin.port, &public);
            (kind, on_core(SERVERS, start))
        })
        .collect();
    let mut rows = Vec::new();
    for (path, what) in CACHED {
        let [ours, theirs @ ..] = &turns(node, &peers, path, rounds)[..] else {
            continue;
        };
        let fastest = theirs.iter().zip(&peers).max_by(|a, b| a.0.total_cmp(b.0));
        let all: Vec<String> = theirs
            .iter()
            .zip(&peers)
            .map(|(result, (kind, _))| format!("{} {result:.0}", kind.name()))
            .collect();
        eprintln!("  {what}: {ours:.0}, {}", all.join(", "));
        let peer = fastest.map(|(result, (kind, _))| (kind.name(), *result));
        rows.push(row(what, *ours, peer));
    }
    let nginx: Vec<(ProxyKind, Proxy)> = peers
        .into_iter()
        .filter(|(kind, _)| *kind == ProxyKind::Nginx)
        .collect();
    for (path, what) in FILES {
        if let [ours, theirs] = turns(node, &nginx, path, rounds)[..] {
            rows.push(row(what, ours, Some((ProxyKind::Nginx.name(), theirs))));
        }
    }
    rows
}

fn row(what: &'static str, corundum: f64, peer: Option<(&'static str, f64)>) -> Row {
    Row {
        what,
        unit: "/s",
        corundum,
        peer,
        at_least: Some(1.0),
        better: Better::More,
    }
}

/// Measures the node and each proxy in turns. Returns their medians.
fn turns(node: &TestNode, peers: &[(ProxyKind, Proxy)], path: &str, rounds: usize) -> Vec<f64> {
    let mut results = vec![Vec::new(); peers.len() + 1];
    for _ in 0..rounds {
        results[0].push(served(node.id(), node.http(), path));
        for (results, (_, peer)) in results[1..].iter_mut().zip(peers) {
            results.push(served(peer.id(), peer.port, path));
        }
    }
    results.iter().map(|results| median(results)).collect()
}

/// Returns the requests that a server answers per second of its CPU time.
///
/// This equals requests per second while the server is busy all the time, but a client with one core cannot keep a
/// server busy with bodies of 64 KiB.
fn served(process: u32, port: u16, path: &str) -> f64 {
    let before = cpu_time(process);
    let requests = crate::wrk(port, HOST, path).requests;
    requests / (cpu_time(process) - before).as_secs_f64()
}

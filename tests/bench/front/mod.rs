//! The front door by itself: what a core serves from the cache and of files, beside Debian's proxies.

mod proxies;

use std::path::Path;

use proxies::{Kind, Proxy};

use crate::machine::{cpu_time, median, on_core};
use crate::peers::{Kind as Server, Peer};
use crate::table::{Better, Row};
use crate::{LOAD, SERVERS};
use corundum_test_support::node::TestNode;

const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/bench/apps/pages");
const HOST: &str = "pages.localhost";

/// What is asked for, and the row that it makes.
const CACHED: [(&str, &str); 2] = [
    ("/1k", "cache hits of 1 KiB, a core"),
    ("/64k", "cache hits of 64 KiB, a core"),
];
const FILES: [(&str, &str); 2] = [
    ("/file-1k.txt", "files of 1 KiB, a core"),
    ("/file-64k.txt", "files of 64 KiB, a core"),
];

/// Requests a second that a core serves without a dyno, in turns with the peers.
pub(crate) fn rows(node: &TestNode, rounds: usize) -> Vec<Row> {
    let app = node.create("pages");
    app.copy(PAGES);
    for (path, kibibytes) in [("public/file-1k.txt", 1), ("public/file-64k.txt", 64)] {
        app.write(path, &"0123456789abcde\n".repeat(kibibytes * 64));
    }
    let push = app.push("main");
    assert!(push.success, "{}", push.text);
    let origin = on_core(LOAD, || Peer::start(Server::Thin, Path::new(PAGES), 9321));
    let public = app.path().join("public");
    let peers: Vec<(Kind, Proxy)> = (9322..)
        .zip(Kind::ALL)
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
            .map(|(figure, (kind, _))| format!("{} {figure:.0}", kind.name()))
            .collect();
        eprintln!("  {what}: {ours:.0}, {}", all.join(", "));
        let peer = fastest.map(|(figure, (kind, _))| (kind.name(), *figure));
        rows.push(row(what, *ours, peer));
    }
    let nginx: Vec<(Kind, Proxy)> = peers
        .into_iter()
        .filter(|(kind, _)| *kind == Kind::Nginx)
        .collect();
    for (path, what) in FILES {
        if let [ours, theirs] = turns(node, &nginx, path, rounds)[..] {
            rows.push(row(what, ours, Some((Kind::Nginx.name(), theirs))));
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

/// The medians of the node and of each peer.
fn turns(node: &TestNode, peers: &[(Kind, Proxy)], path: &str, rounds: usize) -> Vec<f64> {
    let mut figures = vec![Vec::new(); peers.len() + 1];
    for _ in 0..rounds {
        figures[0].push(served(node.id(), node.http(), path));
        for (figures, (_, peer)) in figures[1..].iter_mut().zip(peers) {
            figures.push(served(peer.id(), peer.port, path));
        }
    }
    figures.iter().map(|figures| median(figures)).collect()
}

/// Requests that a server answers in a second of its own processor time. Where it is busy all the time, that is what it
/// answers in a second; but a client of one core cannot keep it busy with bodies of 64 KiB.
fn served(process: u32, port: u16, path: &str) -> f64 {
    let before = cpu_time(process);
    let requests = crate::wrk(port, HOST, path).requests;
    requests / (cpu_time(process) - before).as_secs_f64()
}

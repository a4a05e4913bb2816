//! HTTP/1 over raw connections: a corpus of requests, good and bad, with what must come of them.
//!
//! [`cases`] is the corpus. It is run against our router, where all of it must hold, and against Debian's nginx, HAProxy
//! and Apache as a check on the corpus itself ([`peers`]): where two of them see a case in another way, `differences.tsv`
//! says why we do not.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod case;
mod cases;
mod peers;

use std::collections::HashSet;
use std::time::Duration;

use corundum_router::limits::Limits;
use corundum_router::server::ServerLimits;
use tokio::io::AsyncWriteExt;

use case::{Case, End, Then};
use corundum_router_test_support::corpus::assert_all_hold;
use corundum_router_test_support::http1::{AnswerTo, ResponseReader};
use corundum_router_test_support::router::TestRouter;

/// So many there are at least: a corpus that is not run must not pass for one that holds.
const LEAST: usize = 300;

#[test]
fn the_corpus_has_each_case_once() {
    let cases = cases::all();
    let names: HashSet<_> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases have the same name");
    assert!(cases.len() >= LEAST, "{} cases", cases.len());
    assert!(cases.iter().all(|case| !case.section.is_empty()));
}

#[tokio::test]
async fn every_case_holds_against_the_router() {
    assert_all_hold(cases::all(), 16, named, run).await;
}

/// The same bytes, one at a time: where they are cut must not matter.
#[tokio::test]
async fn every_case_holds_when_its_bytes_come_one_by_one() {
    let short = cases::all()
        .into_iter()
        .filter(|case| case.send.len() < 400);
    let in_pieces = async |case: &Case| run_in_pieces(case, 1).await;
    assert_all_hold(short, 64, named, in_pieces).await;
}

fn named(case: &Case) -> String {
    format!("{} ({})", case.name, case.section)
}

async fn run(case: &Case) -> Result<(), String> {
    run_in_pieces(case, usize::MAX).await
}

async fn run_in_pieces(case: &Case, piece: usize) -> Result<(), String> {
    // A router of its own, whose app sees nothing else.
    let router = TestRouter::start_with(ServerLimits::default(), Limits::default()).await;
    let stream = router.connect().await;
    stream.set_nodelay(true).unwrap();
    let mut reader = ResponseReader::new(stream, Duration::from_secs(5));
    for bytes in case.send.chunks(piece.min(case.send.len())) {
        // The router may have answered and closed before all is sent.
        if reader.stream().write_all(bytes).await.is_err() {
            break;
        }
        if piece == 1 {
            tokio::task::yield_now().await;
        }
    }
    if case.then == Then::HalfCloses {
        let _ = reader.stream().shutdown().await;
    }
    for (index, statuses) in case.statuses.iter().enumerate() {
        let is_head = case
            .saw
            .get(index)
            .is_some_and(|saw| saw.starts_with("HEAD"));
        let to = if is_head {
            AnswerTo::Head
        } else {
            AnswerTo::Other
        };
        let response = reader.next(to).await;
        let response = response.map_err(|instead| format!("response {index}: {instead:?}"))?;
        if !statuses.contains(&response.status) {
            return Err(format!("response {index}: {response:?}, not {statuses:?}"));
        }
    }
    let mut saw = case.saw.clone();
    match case.end {
        End::Closed => {
            let more = reader.until_closed().await;
            let more = more.map_err(|instead| format!("not closed: {instead:?}"))?;
            if !more.is_empty() {
                return Err(format!("more came: {:?}", String::from_utf8_lossy(&more)));
            }
        }
        End::Kept => {
            let probe = "GET /probe HTTP/1.1\r\nHost: app.example\r\n\r\n";
            let _ = reader.stream().write_all(probe.as_bytes()).await;
            let response = reader.next(AnswerTo::Other).await;
            let response = response.map_err(|instead| format!("not kept: {instead:?}"))?;
            if response.status != 200 {
                return Err(format!("the next request got {response:?}"));
            }
            saw.push("GET /probe||".to_owned());
        }
    }
    let seen = router.grid.observed.requests.lock().unwrap().clone();
    if seen == saw {
        Ok(())
    } else {
        Err(format!("the app saw {seen:?}, not {saw:?}"))
    }
}

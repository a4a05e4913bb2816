//! HTTP/1 over raw connections: a corpus of valid and invalid requests with their required results.
//!
//! All cases of [`cases`] must hold for the router. The corpus itself is checked against nginx, HAProxy and Apache of
//! Debian ([`peers`]): if two of them differ in a case, `differences.tsv` gives the reason for the corpus.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod case;
mod cases;
mod peers;

use std::collections::HashSet;
use std::time::Duration;

use corundum_router::limits::Limits;
use corundum_router::server::ServerLimits;
use tokio::io::AsyncWriteExt;

use case::{AfterSending, ConnectionEnd, Http1Case};
use corundum_router_test_support::corpus::assert_all_hold;
use corundum_router_test_support::http1::{AnswerTo, ResponseReader};
use corundum_router_test_support::router::TestRouter;

/// Lower bound of the number of cases: an empty corpus must not pass.
const LEAST: usize = 300;

#[test]
fn names_of_cases_are_unique() {
    let cases = cases::all();
    let names: HashSet<_> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases have the same name");
    assert!(cases.len() >= LEAST, "{} cases", cases.len());
    assert!(cases.iter().all(|case| !case.section.is_empty()));
}

#[tokio::test]
async fn every_case_holds_for_the_router() {
    assert_all_hold(cases::all(), 16, title, run).await;
}

/// Sends one byte at a time: the result must not depend on the boundaries of reads.
#[tokio::test]
async fn every_case_holds_byte_by_byte() {
    let short = cases::all()
        .into_iter()
        .filter(|case| case.send.len() < 400);
    let in_pieces = async |case: &Http1Case| run_in_pieces(case, 1).await;
    assert_all_hold(short, 64, title, in_pieces).await;
}

fn title(case: &Http1Case) -> String {
    format!("{} ({})", case.name, case.section)
}

async fn run(case: &Http1Case) -> Result<(), String> {
    run_in_pieces(case, usize::MAX).await
}

async fn run_in_pieces(case: &Http1Case, piece: usize) -> Result<(), String> {
    // Each case has its own router, whose app sees no other requests.
    let router = TestRouter::start_with(ServerLimits::default(), Limits::default()).await;
    let stream = router.connect().await;
    stream.set_nodelay(true).unwrap();
    let mut reader = ResponseReader::new(stream, Duration::from_secs(5));
    for bytes in case.send.chunks(piece.min(case.send.len())) {
        // The router may refuse the request and close the connection before the last byte.
        if reader.stream().write_all(bytes).await.is_err() {
            break;
        }
        if piece == 1 {
            tokio::task::yield_now().await;
        }
    }
    if case.then == AfterSending::HalfCloses {
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
        ConnectionEnd::Closed => {
            let more = reader.until_closed().await;
            let more = more.map_err(|instead| format!("not closed: {instead:?}"))?;
            if !more.is_empty() {
                return Err(format!(
                    "unexpected bytes: {:?}",
                    String::from_utf8_lossy(&more)
                ));
            }
        }
        ConnectionEnd::Kept => {
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

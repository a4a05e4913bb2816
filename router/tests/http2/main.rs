//! HTTP/2 over raw connections: a corpus of valid and invalid frames with their required results ([`cases`]), and floods
//! that have brought servers down ([`floods`]).

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod case;
mod cases;
mod client;
mod floods;
mod frame;

use std::collections::HashSet;

use case::{Http2Case, RequiredResult};
use client::Http2Client;
use corundum_router_test_support::corpus::assert_all_hold;
use corundum_router_test_support::router::TestRouter;
use frame::{END_STREAM, GOAWAY, HEADERS, RST_STREAM};

/// Lower bound of the number of cases: an empty corpus must not pass.
const LEAST: usize = 150;

#[test]
fn names_of_cases_are_unique() {
    let cases = cases::all();
    let names: HashSet<_> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases have the same name");
    assert!(cases.len() >= LEAST, "{} cases", cases.len());
}

#[tokio::test]
async fn every_case_holds_for_the_router() {
    assert_all_hold(cases::all(), 16, title, run).await;
}

fn title(case: &Http2Case) -> String {
    format!("{} ({})", case.name, case.section)
}

async fn run(case: &Http2Case) -> Result<(), String> {
    let router = TestRouter::start().await;
    let mut client = Http2Client::connect(&router).await;
    client.send(&case.send).await;
    match &case.outcome {
        RequiredResult::Status(status) => {
            let answer = client
                .until(|frame| frame.kind == HEADERS && frame.stream == 1)
                .await?;
            if answer.status() != *status {
                return Err(format!("status {}, not {status}", answer.status()));
            }
            serves_on(&mut client).await
        }
        RequiredResult::Frame(kind, flags, payload) => {
            let wanted = |frame: &frame::ReceivedFrame| {
                frame.kind == *kind && frame.flags == *flags && frame.payload == *payload
            };
            client.until(wanted).await.map(drop)
        }
        RequiredResult::StreamError(codes) => {
            let broken = |frame: &frame::ReceivedFrame| {
                matches!(frame.kind, RST_STREAM | GOAWAY)
                    || (frame.kind == HEADERS && frame.stream == 1 && frame.status() == 400)
            };
            let error = client.until(broken).await?;
            let seen = router.grid.observed.requests.lock().unwrap().clone();
            if seen.iter().any(|seen| !seen.starts_with("POST /e")) {
                return Err(format!("the app saw {seen:?}"));
            }
            match error.kind {
                HEADERS => serves_on(&mut client).await,
                RST_STREAM if codes.contains(&error.code()) => serves_on(&mut client).await,
                GOAWAY if is_one_of(&error, codes) => client.until_closed().await,
                _ => Err(format!("code {}, not {codes:?}", error.code())),
            }
        }
        RequiredResult::ConnectionError(codes) => {
            let goaway = client.until(|frame| frame.kind == GOAWAY).await?;
            if !is_one_of(&goaway, codes) {
                return Err(format!("code {}, not {codes:?}", goaway.code()));
            }
            client.until_closed().await
        }
    }
}

/// Returns whether a GOAWAY has one of these codes.
///
/// The h2 library sends PROTOCOL_ERROR in place of some specific codes. Ending the connection is what protects the
/// server; the code helps only to debug a client.
fn is_one_of(goaway: &frame::ReceivedFrame, codes: &[u32]) -> bool {
    codes.contains(&goaway.code())
        || goaway.code() == case::PROTOCOL && !codes.contains(&case::NO_ERROR)
}

/// Checks that the connection serves another request.
async fn serves_on(client: &mut Http2Client) -> Result<(), String> {
    client.send(&frame::get(1001)).await;
    let ended =
        |frame: &frame::ReceivedFrame| frame.stream == 1001 && frame.flags & END_STREAM != 0;
    let end = client.until(ended).await;
    end.map(drop)
        .map_err(|what| format!("next request: {what}"))
}

//! Rules about requests.

use bytes::Bytes;
use corundum_exchange::{BodyInterrupted, RequestBody};
use futures_util::StreamExt as _;

use super::probe::{Deployment, ProbeApp, get, post, request};
use super::{ConformanceReport, ensure, expect};

/// Bytes of a large body, sent in pieces.
const LARGE: usize = 10 << 20;
const PIECE: usize = 64 << 10;

/// Checks the rules.
pub(super) async fn check(app: &ProbeApp, report: &mut ConformanceReport) {
    report
        .check(
            "request: a head of 100 KB is read",
            "read until the netstring is complete; one read returns a part of it",
            async {
                let long = "x".repeat(100_000);
                let headers = [("HTTP_X_PROBE", long.as_str())];
                let head = request("GET", "/header", &headers, Some(0), RequestBody::Empty);
                let answer = app.send(Deployment::Keeping, head).await?;
                ensure(answer.text() == "100000", || {
                    format!("/header is {:?}", answer.text())
                })?;
                Ok(String::new())
            },
        )
        .await;
    report
        .check(
            "request: the query arrives",
            "pass QUERY_STRING to the app",
            expect(app, Deployment::Keeping, "/query?a=1&b=%20", "a=1&b=%20"),
        )
        .await;
    report
        .check(
            "request: bytes of all values arrive unchanged",
            "treat bodies as bytes, not as texts",
            async {
                let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
                let answer = app
                    .send(Deployment::Keeping, post("/echo", bytes.clone()))
                    .await?;
                ensure(answer.body == bytes, || {
                    format!("{} bytes came back, or others", answer.body.len())
                })?;
                Ok(String::new())
            },
        )
        .await;
    report
        .check(
            "request: a body of unknown length ends with its stream",
            "a CONTENT_LENGTH of -1 means that the length is unknown: read to the end of file",
            async {
                let pieces = ["one", "two", "three"].map(|piece| Ok(Bytes::from(piece)));
                let body = RequestBody::Stream(futures_util::stream::iter(pieces).boxed());
                let sent = request("POST", "/size", &[], None, body);
                let answer = app.send(Deployment::Keeping, sent).await?;
                ensure(answer.text() == "11", || {
                    format!("/size is {:?}", answer.text())
                })?;
                Ok(String::new())
            },
        )
        .await;
    report
        .check(
            "request: 10 MB are read as they arrive",
            "let apps read bodies in pieces, and keep none of them",
            async {
                let piece = Bytes::from(vec![b'x'; PIECE]);
                let pieces = std::iter::repeat_n(Ok(piece), LARGE / PIECE);
                let body = RequestBody::Stream(futures_util::stream::iter(pieces).boxed());
                let sent = request("POST", "/size", &[], Some(LARGE as u64), body);
                let answer = app.send(Deployment::Keeping, sent).await?;
                ensure(answer.text() == LARGE.to_string(), || {
                    format!("/size is {:?}", answer.text())
                })?;
                Ok(String::new())
            },
        )
        .await;
    report
        .check(
            "request: an unread body does not reach the next request",
            "forget what was read ahead of the body at the end of dyno_handle",
            async {
                let answer = app
                    .send(Deployment::Keeping, post("/unread", vec![b'7'; 50_000]))
                    .await?;
                ensure(answer.status == 200, || {
                    format!("the status is {}", answer.status)
                })?;
                let answer = app
                    .send(Deployment::Keeping, post("/echo", b"next".to_vec()))
                    .await?;
                ensure(answer.body == b"next", || {
                    format!("the next body is {:?}", answer.text())
                })?;
                Ok(String::new())
            },
        )
        .await;
    report
        .check(
            "request: an interrupted body is an error of the app",
            "a failed read of descriptor 1000 (ECONNRESET) must raise the language's error, not end the body",
            async {
                let pieces = [Ok(Bytes::from("one")), Err(BodyInterrupted)];
                let body = RequestBody::Stream(futures_util::stream::iter(pieces).boxed());
                let sent = request("POST", "/size", &[], Some(1000), body);
                if let Ok(answer) = app.send(Deployment::Keeping, sent).await {
                    ensure(answer.status >= 500, || {
                        format!("the app saw a whole body: status {}, {:?}", answer.status, answer.text())
                    })?;
                }
                let answer = app.send(Deployment::Keeping, get("/")).await?;
                ensure(answer.status == 200, || "the next request fails".to_owned())?;
                Ok(String::new())
            },
        )
        .await;
}

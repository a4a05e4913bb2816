//! Rules about code that takes too much.

use std::time::{Duration, Instant};

use super::probe::{Deployment, FIRST_BYTE, ProbeApp, get};
use super::{ConformanceReport, KitLength, ensure};

/// Kinds of loops that run without end, each a route of the probe app.
const LOOPS: [&str; 4] = ["plain", "sort", "pattern", "text"];
/// Requests whose memory is compared.
const REQUESTS: [usize; 2] = [500, 10_000];

/// Checks the rules.
pub(super) async fn check(app: &ProbeApp, length: KitLength, report: &mut ConformanceReport) {
    for kind in LOOPS {
        report
            .check(
                match kind {
                    "plain" => "bounds: a loop without end yields to other apps",
                    "sort" => "bounds: a sort without end yields to other apps",
                    "pattern" => "bounds: a pattern that backtracks without end yields to other apps",
                    _ => "bounds: work on texts without end yields to other apps",
                },
                "every loop of the runtime must poll: leave it to the preemption pass, and take functions from code.polling that do not",
                endless(app, kind),
            )
            .await;
    }
    report
        .check(
            "bounds: deep recursion is an error of the language",
            "bound the recursion of the interpreter, so that neither C's stack nor the engine's overflows",
            async {
                let answer = app.send(Deployment::Keeping, get("/deep")).await?;
                ensure(answer.text() == "caught", || {
                    format!("/deep has the status {}: {:?}", answer.status, answer.text())
                })?;
                Ok(String::new())
            },
        )
        .await;
    report
        .check(
            "bounds: memory beyond the limit ends in an error or a new dyno",
            "raise the language's error when memory cannot grow",
            async {
                // The language decides whether the app survives; the next request must be served.
                let answer = app.send(Deployment::Keeping, get("/memory")).await;
                let found = answer.map_or_else(|error| error, |answer| answer.text());
                let next = app.send(Deployment::Keeping, get("/")).await?;
                ensure(next.status == 200, || "the next request fails".to_owned())?;
                Ok(found.lines().next().unwrap_or_default().to_owned())
            },
        )
        .await;
    report
        .check(
            "bounds: an exit of the app ends the dyno alone",
            "leave exits to proc_exit",
            async {
                let _ = app.send(Deployment::Keeping, get("/exit")).await;
                let answer = app.send(Deployment::Keeping, get("/")).await?;
                ensure(answer.status == 200, || "the next request fails".to_owned())?;
                Ok(String::new())
            },
        )
        .await;
    report
        .check(
            "bounds: a line of 1 MB reaches the log",
            "write logs to descriptor 2 in one piece or many; keep no line in a buffer of fixed size",
            async {
                let answer = app.send(Deployment::Keeping, get("/log?1000000")).await?;
                ensure(answer.status == 200, || format!("the status is {}", answer.status))?;
                tokio::time::sleep(Duration::from_millis(50)).await;
                let bytes: usize = app
                    .log
                    .lines()
                    .iter()
                    .filter(|line| line.starts_with("LLLL"))
                    .map(String::len)
                    .sum();
                ensure(bytes >= 1_000_000, || format!("{bytes} bytes reached the log"))?;
                Ok(String::new())
            },
        )
        .await;
    let count = match length {
        KitLength::Short => REQUESTS[0],
        KitLength::Whole => REQUESTS[1],
    };
    report
        .check(
            "bounds: many requests leave nothing behind",
            "free what a request has allocated; the dyno must not be replaced because it grew",
            async {
                let number = |text: &str| {
                    text.parse::<usize>()
                        .map_err(|_| format!("/count is {text:?}"))
                };
                let started = Instant::now();
                let first = number(&app.text(Deployment::Keeping, "/count").await?)?;
                for _ in 0..count {
                    app.text(Deployment::Keeping, "/").await?;
                }
                let last = number(&app.text(Deployment::Keeping, "/count").await?)?;
                // A dyno that was replaced counts from the image's number again.
                ensure(last == first + 1, || {
                    "the dyno was replaced: it grew, or ended".to_owned()
                })?;
                let micros = started.elapsed().as_micros() / (count as u128 + 2);
                Ok(format!("{count} requests, {micros} µs each"))
            },
        )
        .await;
}

/// Starts a loop without end in one dyno, and serves another app meanwhile. The grid then ends the loop's dyno, which works
/// only while the loop yields.
async fn endless(app: &ProbeApp, kind: &str) -> Result<String, String> {
    let target = format!("/loop?{kind}");
    let mut looping = Box::pin(app.send(Deployment::Keeping, get(&target)));
    // The loop runs for a while before the other app is asked.
    let ended = tokio::time::timeout(FIRST_BYTE / 10, &mut looping).await;
    if let Ok(answer) = ended {
        let answer = answer?;
        return match answer.status {
            // A language may lack such work, and says so.
            501 => Ok("the probe app has no such work".to_owned()),
            status => Err(format!(
                "{target} ended with the status {status}: {}",
                answer.text()
            )),
        };
    }
    let started = Instant::now();
    let other = tokio::select! {
        other = app.send(Deployment::Other, get("/")) => other?,
        answer = &mut looping => return Err(format!("{target} ended: {answer:?}")),
    };
    let waited = started.elapsed();
    ensure(other.status == 200, || {
        "another app is not served".to_owned()
    })?;
    ensure(waited < FIRST_BYTE / 2, || {
        format!("another app waited {} ms", waited.as_millis())
    })?;
    let ended = tokio::time::timeout(3 * FIRST_BYTE, looping).await;
    let ended = ended.map_err(|_| "the dyno cannot be ended".to_owned())?;
    ensure(ended.is_err(), || format!("{target} ended: {ended:?}"))?;
    let next = app.send(Deployment::Keeping, get("/")).await?;
    ensure(next.status == 200, || {
        "the app is not served after the loop".to_owned()
    })?;
    Ok(format!("another app waited {} ms", waited.as_millis()))
}

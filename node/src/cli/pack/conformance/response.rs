//! Rules about responses.

use std::time::Duration;

use corundum_exchange::RequestBody;

use super::probe::{Deployment, ProbeApp, get, request};
use super::{ConformanceReport, ensure};

/// Checks the rules.
pub(super) async fn check(app: &ProbeApp, report: &mut ConformanceReport) {
    report
        .check(
            "response: several headers of one name arrive",
            "write a line for each value, as for Set-Cookie",
            async {
                let answer = app.send(Deployment::Keeping, get("/cookies")).await?;
                let cookies = answer
                    .headers
                    .iter()
                    .filter(|(name, _)| name == "set-cookie");
                let values: Vec<&str> = cookies.map(|(_, value)| value.as_str()).collect();
                ensure(values == ["a=1", "b=2"], || {
                    format!("Set-Cookie is {values:?}")
                })?;
                Ok(String::new())
            },
        )
        .await;
    report
        .check(
            "response: 204, 304 and HEAD are served",
            "write the head of the response also if it has no body",
            async {
                for status in [204, 304] {
                    let answer = app
                        .send(Deployment::Keeping, get(&format!("/status?{status}")))
                        .await?;
                    ensure(answer.status == status, || {
                        format!("/status?{status} has the status {}", answer.status)
                    })?;
                }
                let head = request("HEAD", "/", &[], Some(0), RequestBody::Empty);
                let answer = app.send(Deployment::Keeping, head).await?;
                ensure(answer.status == 200, || {
                    format!("HEAD / has the status {}", answer.status)
                })?;
                Ok(String::new())
            },
        )
        .await;
    report
        .check(
            "response: a body that never ends arrives, and ends when its client is gone",
            "write each piece to descriptor 1000 when the app gives it, and stop at EPIPE",
            async {
                let begun = app.begin(Deployment::Keeping, get("/endless"));
                let begun = tokio::time::timeout(Duration::from_secs(10), begun).await;
                let begun = begun.map_err(|_| "no head within 10 s: the response is held back")?;
                let (_, mut body) = begun.map_err(|error| error.to_string())?;
                let mut bytes = 0;
                while bytes < 100_000 {
                    match body.next().await {
                        Some(Some(piece)) => bytes += piece.len(),
                        _ => return Err(format!("the body ended after {bytes} bytes")),
                    }
                }
                drop(body);
                let answer = app.send(Deployment::Keeping, get("/")).await?;
                ensure(answer.status == 200, || "the next request fails".to_owned())?;
                Ok(String::new())
            },
        )
        .await;
    report
        .check(
            "response: an error of the app is a 500, with a trace in the log",
            "catch the language's errors around the app, write them with their trace to descriptor 2, and a response with the status 500",
            async {
                let answer = app.send(Deployment::Keeping, get("/error")).await?;
                ensure(answer.status == 500, || format!("the status is {}", answer.status))?;
                ensure(!answer.text().contains("probe error"), || {
                    "the response shows the error to the client".to_owned()
                })?;
                let logged = app.wait_for_log("probe error").await;
                ensure(logged, || "the log does not have the error".to_owned())?;
                Ok(String::new())
            },
        )
        .await;
    report
        .check(
            "response: an error after the head interrupts the body",
            "return a status other than 0 from dyno_handle if the response has begun: a response that ends normally looks whole",
            async {
                let answer = app.send(Deployment::Keeping, get("/late")).await;
                if let Ok(answer) = answer {
                    ensure(!answer.is_whole || answer.status >= 500, || {
                        "the body looks whole".to_owned()
                    })?;
                }
                let answer = app.send(Deployment::Keeping, get("/")).await?;
                ensure(answer.status == 200, || "the next request fails".to_owned())?;
                Ok(String::new())
            },
        )
        .await;
}

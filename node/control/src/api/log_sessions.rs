//! Endpoints of log sessions: one that creates a session, and the session's URL, which streams the log without a token.
//!
//! The URL's secret is in this response only: no event and no error names it.

use std::sync::Arc;

use bytes::Bytes;
use corundum_api::ErrorId;
use corundum_api::log_session::{LogSessionCreate, LogSessionResource};
use corundum_store::{AppRecord, AppStore, StoreError};
use futures_util::StreamExt;
use http::header::{CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use jiff::Timestamp;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;

use super::error::ApiError;
use super::response::{ApiResult, created, read};
use crate::app_urls::AppUrls;
use crate::logs::filter::{LogFilter, LogOrigin};
use crate::logs::sessions::{LogSelection, LogSessions, OpenLogSession};
use crate::logs::{LogEntry, Logs};

/// Lines of the past without `lines`.
const DEFAULT_LINES: u32 = 100;

/// Creates a session of an app's log.
pub(super) async fn create(
    sessions: &LogSessions,
    urls: &AppUrls,
    app: &AppRecord,
    request: Request<Incoming>,
) -> ApiResult {
    let base = base_url(request.headers(), urls);
    let body: LogSessionCreate = read(request).await?;
    let secret = sessions
        .add(LogSelection {
            app: app.id,
            filter: filter_of(&body)?,
            lines: body.lines.unwrap_or(DEFAULT_LINES) as usize,
            tail: body.tail.unwrap_or_default(),
        })
        .map_err(|error| ApiError::new(ErrorId::Internal, format!("random numbers: {error}")))?;
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    created(&LogSessionResource {
        id: Uuid::new_v4(),
        created_at: now,
        logplex_url: format!("{base}/v1/log-sessions/{secret}"),
        updated_at: now,
    })
}

/// Streams a session's log as text: the last lines, and with `tail` those to come.
pub(super) fn stream(
    sessions: &LogSessions,
    logs: &Logs,
    store: &(impl AppStore + ?Sized),
    secret: &str,
) -> ApiResult {
    let session = sessions.open(secret).ok_or_else(no_session)?;
    let LogSelection {
        app, lines, tail, ..
    } = *session.selection();
    let app = match store.app_by_id(app) {
        Err(StoreError::NoAppId(_)) => return Err(no_session()),
        app => app?,
    };
    let (mut past, followed) = logs.follow(&app.name, usize::MAX);
    past.retain(|line| session.selection().filter.accepts(line.source()));
    past.drain(..past.len().saturating_sub(lines));
    let past = futures_util::stream::iter(past).map(|line| line.text());
    let frame = |line: String| Ok(Frame::data(Bytes::from(line + "\n")));
    let body = if tail {
        let future = futures_util::stream::unfold((followed, session), next_line);
        BodyExt::boxed_unsync(StreamBody::new(past.chain(future).map(frame)))
    } else {
        BodyExt::boxed_unsync(StreamBody::new(past.map(frame)))
    };
    let mut response = Response::new(body);
    // A browser may open the URL, and the log may hold markup.
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    Ok(response)
}

type TailState = (Receiver<Arc<LogEntry>>, OpenLogSession);

/// Waits for the next line of a session. The state keeps the session from expiring while the client reads it.
async fn next_line((mut followed, session): TailState) -> Option<(String, TailState)> {
    loop {
        let line = match followed.recv().await {
            Ok(line) if session.selection().filter.accepts(line.source()) => line.text(),
            Ok(_) => continue,
            Err(RecvError::Lagged(missed)) => format!(
                "corundum[logs]: Error L10 (output buffer overflow): {missed} messages dropped"
            ),
            Err(RecvError::Closed) => return None,
        };
        return Some((line, (followed, session)));
    }
}

fn no_session() -> ApiError {
    ApiError::not_found("log_session", "Couldn't find that log session.")
}

/// Reads the filter of a request.
fn filter_of(body: &LogSessionCreate) -> Result<LogFilter, ApiError> {
    let mut filter = LogFilter {
        origin: body.source.as_deref().map(origin).transpose()?,
        ..LogFilter::default()
    };
    if let Some(process_type) = &body.process_type {
        filter.process_type = Some(process_type.parse().map_err(ApiError::invalid)?);
    }
    if let Some(dyno) = &body.dyno_name {
        filter.dyno = Some(dyno.parse().map_err(ApiError::invalid)?);
    }
    if let Some(dyno_or_type) = &body.dyno {
        filter.select(dyno_or_type).map_err(ApiError::invalid)?;
    }
    Ok(filter)
}

fn origin(source: &str) -> Result<LogOrigin, ApiError> {
    match source {
        "app" => Ok(LogOrigin::App),
        "heroku" => Ok(LogOrigin::Platform),
        _ => Err(ApiError::invalid("source: must be app or heroku")),
    }
}

/// Returns the URL by which the client reached the API, so that it leads through the client's tunnel or proxy as well.
fn base_url(headers: &HeaderMap, urls: &AppUrls) -> String {
    let field = |name: &str| headers.get(name)?.to_str().ok();
    let host = field(HOST.as_str()).and_then(|host| host.parse::<Authority>().ok());
    let host = host.map_or_else(|| urls.api.to_string(), |host| host.to_string());
    // A proxy with TLS before the node says so.
    let scheme = match field("x-forwarded-proto") {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => "https",
        _ => "http",
    };
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn base_url_is_that_of_the_request() {
        let urls = AppUrls {
            domain: "localhost".to_owned(),
            http: 8080,
            https: None,
            api: ([127, 0, 0, 1], 8081).into(),
        };
        let base = |fields: &[(&'static str, &str)]| {
            let fields = fields.iter().map(|(name, value)| {
                let value = HeaderValue::from_str(value).unwrap();
                (HeaderName::from_static(name), value)
            });
            base_url(&fields.collect(), &urls)
        };
        assert_eq!(base(&[("host", "localhost:9000")]), "http://localhost:9000");
        let proxied = [("host", "node.example.com"), ("x-forwarded-proto", "https")];
        assert_eq!(base(&proxied), "https://node.example.com");
        for unusable in ["", "a b", "a/b"] {
            assert_eq!(base(&[("host", unusable)]), "http://127.0.0.1:8081");
        }
        assert_eq!(base(&[]), "http://127.0.0.1:8081");
    }

    #[test]
    fn filters_of_a_request_are_validated() {
        let filter = |json: &str| filter_of(&serde_json::from_str(json).unwrap());
        let all = filter(
            "{\"dyno\": \"web.1\", \"type\": \"web\", \"source\": \"heroku\", \"lines\": \"5\"}",
        );
        assert_eq!(
            all.unwrap(),
            LogFilter {
                origin: Some(LogOrigin::Platform),
                dyno: Some("web.1".parse().unwrap()),
                process_type: Some("web".parse().unwrap()),
            }
        );
        assert_eq!(filter("{\"lines\": 5}").unwrap(), LogFilter::default());
        for wrong in [
            "{\"dyno\": \"a b\"}",
            "{\"dyno_name\": \"web\"}",
            "{\"type\": \"\"}",
            "{\"source\": \"router\"}",
        ] {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
    }
}

//! Endpoint of an app's log, which may go on as long as the client reads it.

use bytes::Bytes;
use corundum_store::AppRecord;
use futures_util::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::sync::broadcast::error::RecvError;

use super::response::ApiBody;
use crate::logs::Logs;

/// Lines of the past without `num`.
const DEFAULT_LINES: usize = 100;

/// Answers the last `num` lines as text, and with `tail` those to come.
pub(super) fn stream(
    logs: &Logs,
    app: &AppRecord,
    request: &Request<Incoming>,
) -> Response<ApiBody> {
    let query = request.uri().query().unwrap_or_default();
    let count = option(query, "num").and_then(|text| text.parse().ok());
    let (lines, followed) = logs.follow(&app.name, count.unwrap_or(DEFAULT_LINES));
    let frame = |line: String| Ok(Frame::data(Bytes::from(line + "\n")));
    let past = futures_util::stream::iter(lines.into_iter().map(move |line| frame(line.text())));
    if option(query, "tail").is_none() {
        return Response::new(BodyExt::boxed_unsync(StreamBody::new(past)));
    }
    let future = futures_util::stream::unfold(followed, move |mut followed| async move {
        let line = match followed.recv().await {
            Ok(line) => line.text(),
            Err(RecvError::Lagged(missed)) => format!(
                "corundum[logs]: Error L10 (output buffer overflow): {missed} messages dropped"
            ),
            Err(RecvError::Closed) => return None,
        };
        Some((frame(line), followed))
    });
    Response::new(BodyExt::boxed_unsync(StreamBody::new(past.chain(future))))
}

/// Returns the value of an option in a query.
fn option<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::option;

    #[test]
    fn options_are_read_from_a_query() {
        assert_eq!(option("num=20&tail=1", "tail"), Some("1"));
        assert_eq!(option("num=20", "tail"), None);
        assert_eq!(option("", "num"), None);
    }
}

//! Error pages: small HTML, or JSON for clients that accept it.

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};

use crate::custom_error_pages::CustomErrorPages;
use crate::failure::Failure;

/// Builds the response for `failure`: JSON if the request's `Accept` prefers it, otherwise HTML, for which the app's
/// `own` page takes precedence.
pub(crate) fn page(
    failure: &Failure,
    request: &HeaderMap,
    own: Option<&CustomErrorPages>,
) -> Response<Bytes> {
    let accept = request
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let wants_json = accept
        .split(',')
        .map(|part| part.split(';').next().unwrap_or_default().trim());
    let wants_json = wants_json.take_while(|kind| *kind != "text/html");
    let wants_json = wants_json
        .into_iter()
        .any(|kind| kind.ends_with("/json") || kind.ends_with("+json"));
    let (kind, text) = if wants_json {
        ("application/json", json(failure).into())
    } else {
        let own = own.and_then(|pages| pages.of(failure)).cloned();
        let html = own.unwrap_or_else(|| html(failure).into());
        ("text/html; charset=utf-8", html)
    };
    let mut response = Response::new(text);
    *response.status_mut() = failure.shown_status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

// No word of a page comes from the request, so neither form needs escaping.

fn json(failure: &Failure) -> String {
    format!(
        "{{\"error\":{{\"code\":\"{}\",\"message\":\"{}\",\"advice\":\"{}\"}}}}\n",
        failure.code(),
        failure.description(),
        failure.advice()
    )
}

fn html(failure: &Failure) -> String {
    let (title, advice) = (failure.description(), failure.advice());
    let code = match failure.code() {
        "" => failure.shown_status().as_u16().to_string(),
        code => code.to_owned(),
    };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>\
:root{{color-scheme:light dark}}body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:18vh auto;padding:0 1.5rem}}\
h1{{font-size:1.6rem;margin:0 0 .5rem}}p{{margin:.5rem 0;opacity:.8}}code{{color:#b3123f}}</style></head>\
<body><h1>{title}</h1><p>{advice}</p><p><code>{code}</code></p></body></html>\n"
    )
}

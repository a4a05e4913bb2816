//! Answers to ACME HTTP-01 challenges (RFC 8555 section 8.3).
//!
//! While the node orders a certificate, the ACME server fetches a proof from the host itself.

use std::collections::HashMap;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Response};

use crate::body::response_body::ResponseBody;

/// Path under which an ACME server fetches the proof.
const PREFIX: &str = "/.well-known/acme-challenge/";

/// Key authorizations by host and token.
type KeyAuthorizations = HashMap<(Box<str>, Box<str>), Bytes>;

/// Key authorizations of pending challenges. Requests for other tokens go to the apps, which may order certificates of
/// their own.
#[derive(Debug, Default)]
pub struct Http01Challenges {
    answers: ArcSwap<KeyAuthorizations>,
}

impl Http01Challenges {
    /// Answers requests for `token` at `host` (lower case) with `answer`, until [`remove`](Self::remove) is called.
    pub fn add(&self, host: &str, token: &str, answer: &str) {
        let answer = Bytes::copy_from_slice(answer.as_bytes());
        self.answers.rcu(|answers| {
            let mut answers = KeyAuthorizations::clone(answers);
            answers.insert((host.into(), token.into()), answer.clone());
            answers
        });
    }

    /// Stops answering requests for `token` at `host`.
    pub fn remove(&self, host: &str, token: &str) {
        let key = (host.into(), token.into());
        self.answers.rcu(|answers| {
            let mut answers = KeyAuthorizations::clone(answers);
            answers.remove(&key);
            answers
        });
    }

    /// Returns the response to a request that belongs to a pending challenge.
    pub(crate) fn answer(&self, host: &str, parts: &Parts) -> Option<Response<ResponseBody>> {
        let token = parts.uri.path().strip_prefix(PREFIX)?;
        if parts.method != Method::GET && parts.method != Method::HEAD {
            return None;
        }
        let answer = {
            let answers = self.answers.load();
            if answers.is_empty() {
                return None;
            }
            answers.get(&(host.into(), token.into()))?.clone()
        };
        let body = if parts.method == Method::HEAD {
            Bytes::new()
        } else {
            answer
        };
        let mut response = Response::new(ResponseBody::from(body));
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/octet-stream");
        headers.insert(CONTENT_TYPE, kind);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn answered(http01: &Http01Challenges, host: &str, request: http::request::Builder) -> bool {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        http01.answer(host, &parts).is_some()
    }

    #[test]
    fn challenge_is_answered_for_its_host_and_token_until_removed() {
        let http01 = Http01Challenges::default();
        let there = || Request::get("/.well-known/acme-challenge/token");
        http01.add("a.example", "token", "token.print");
        assert!(answered(&http01, "a.example", there()));
        assert!(!answered(&http01, "b.example", there()));
        let post = Request::post("/.well-known/acme-challenge/token");
        assert!(!answered(&http01, "a.example", post));
        for path in ["/.well-known/acme-challenge/other", "/token", "/"] {
            assert!(
                !answered(&http01, "a.example", Request::get(path)),
                "{path}"
            );
        }
        http01.remove("a.example", "token");
        assert!(!answered(&http01, "a.example", there()));
    }
}

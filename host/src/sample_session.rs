//! The sample requests of one boot: the app gets the next one when it has answered the one before.
//!
//! A first round asks for each path once. The guest then settles its heap, and further rounds fill what only a repetition
//! fills. An answer that redirects to HTTPS, or to another path of the same host, changes what the samples ask for, as it
//! would for a browser.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use corundum_abi::cgi::{self, ResponseHead};

use crate::sample_request::SampleTarget;

/// Requests for each path.
const ROUNDS: usize = 3;
/// Redirects that the samples of one boot follow.
const MAX_REDIRECTS: usize = 8;
/// Bytes of a response that the session accepts. A longer one warms nothing more.
const MAX_RESPONSE: usize = 1 << 20;

/// The path of a sample request, and the status of the last answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnsweredSample {
    pub(crate) path: String,
    pub(crate) status: Option<u16>,
}

/// A response that takes no more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResponseEnded;

/// The session of a dyno that boots, which its input and its output share.
#[derive(Debug, Clone)]
pub(crate) struct SharedSession(Arc<Mutex<SampleSession>>);

impl SharedSession {
    /// Creates the session of an app at `host`, which asks for each of the paths.
    pub(crate) fn new(host: &str, paths: &[String]) -> Self {
        Self(Arc::new(Mutex::new(SampleSession::new(host, paths))))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, SampleSession> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// State of the sample requests of one boot.
#[derive(Debug)]
pub(crate) struct SampleSession {
    host: String,
    https: bool,
    samples: Vec<AnsweredSample>,
    /// Indexes of the samples that are still to be sent in this round.
    pending: VecDeque<usize>,
    /// True if the first round has ended.
    repeats: bool,
    redirects: usize,
    /// The sample that the app is answering.
    asked: Option<usize>,
    /// Its response, as far as the head has not been read.
    response: BytesMut,
    head: Option<ResponseHead>,
    written: usize,
    ended: bool,
}

impl SampleSession {
    fn new(host: &str, paths: &[String]) -> Self {
        let sample = |path: &String| AnsweredSample {
            path: path.clone(),
            status: None,
        };
        Self {
            host: host.to_owned(),
            https: false,
            samples: paths.iter().map(sample).collect(),
            pending: (0..paths.len()).collect(),
            repeats: false,
            redirects: 0,
            asked: None,
            response: BytesMut::new(),
            head: None,
            written: 0,
            ended: false,
        }
    }

    /// Returns the head of the next request, or `None` at the end of a round.
    pub(crate) fn next_head(&mut self) -> Option<Bytes> {
        self.conclude();
        let Some(index) = self.pending.pop_front() else {
            if !std::mem::replace(&mut self.repeats, true) {
                let round = 0..self.samples.len();
                self.pending = (1..ROUNDS).flat_map(|_| round.clone()).collect();
            }
            return None;
        };
        self.asked = Some(index);
        let head = self.target(&self.samples[index].path).head();
        Some(Bytes::copy_from_slice(head.as_bytes()))
    }

    /// Takes bytes of the response.
    ///
    /// # Errors
    ///
    /// [`ResponseEnded`]: the response is longer than a sample needs.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), ResponseEnded> {
        self.written += bytes.len();
        self.ended |= self.written > MAX_RESPONSE;
        if self.ended {
            return Err(ResponseEnded);
        }
        if self.head.is_none() {
            self.response.extend_from_slice(bytes);
            match cgi::take_head(&mut self.response) {
                Ok(head) => self.head = head,
                Err(_) => self.ended = true,
            }
        }
        Ok(())
    }

    /// Ends a response that would have to wait for its client, because a sample request must end.
    pub(crate) fn flush_now(&mut self) {
        self.ended |= self.written > 0;
    }

    /// Returns the path of the request that the app has not answered.
    pub(crate) fn unanswered(&self) -> Option<&str> {
        self.asked.map(|index| self.samples[index].path.as_str())
    }

    /// Returns the target of the request that tries the image, after the end of the samples.
    pub(crate) fn trial(&self) -> SampleTarget {
        let first = self.samples.first();
        self.target(first.map_or("/", |sample| &sample.path))
    }

    /// Returns the samples with the statuses of their answers.
    pub(crate) fn answered(&self) -> &[AnsweredSample] {
        &self.samples
    }

    fn target(&self, path: &str) -> SampleTarget {
        SampleTarget {
            host: self.host.clone(),
            path: path.to_owned(),
            https: self.https,
        }
    }

    /// Evaluates the response to the last request.
    fn conclude(&mut self) {
        let head = self.head.take();
        self.response.clear();
        (self.written, self.ended) = (0, false);
        let (Some(index), Some(head)) = (self.asked.take(), head) else {
            return;
        };
        self.samples[index].status = Some(head.status);
        if let Some(target) = self.redirect(&head, &self.samples[index].path) {
            self.redirects += 1;
            (self.host, self.https) = (target.host, target.https);
            self.samples[index].path = target.path;
            self.pending.push_front(index);
        }
    }

    /// Returns where the samples for `path` go on, if the app redirects them within itself.
    fn redirect(&self, head: &ResponseHead, path: &str) -> Option<SampleTarget> {
        if !matches!(head.status, 301 | 302 | 303 | 307 | 308) || self.redirects == MAX_REDIRECTS {
            return None;
        }
        let mut headers = head.headers.iter();
        let (_, location) = headers.find(|(name, _)| name.eq_ignore_ascii_case(b"location"))?;
        let target = self.resolve(std::str::from_utf8(location).ok()?)?;
        let is_new = target.https != self.https || target.path != path;
        is_new.then_some(target)
    }

    /// Returns the target of a `Location` at the app's own host.
    fn resolve(&self, location: &str) -> Option<SampleTarget> {
        let location = location.split('#').next().unwrap_or_default();
        if location.starts_with('/') && !location.starts_with("//") {
            return Some(self.target(location));
        }
        let (scheme, rest) = location.split_once("://")?;
        let https = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let name = |authority: &str| {
            let name = authority
                .rsplit_once(':')
                .map_or(authority, |(name, _)| name);
            name.to_ascii_lowercase()
        };
        let target = SampleTarget {
            host: authority.to_owned(),
            path: path.to_owned(),
            https,
        };
        (name(authority) == name(&self.host)).then_some(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a session to its end. Returns what it asks for, by round, as scheme, host and path.
    fn run(paths: &[&str], answer: impl Fn(&str) -> String) -> [Vec<String>; 2] {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let mut session = SampleSession::new("app.test:8080", &paths);
        [(), ()].map(|()| {
            let mut asked = Vec::new();
            while let Some(head) = session.next_head() {
                let text = String::from_utf8(head.to_vec()).unwrap();
                let mut fields = text.split('\0');
                let mut value = |name: &str| {
                    fields.find(|field| *field == name);
                    fields.next().unwrap().to_owned()
                };
                let (path, scheme) = (value("REQUEST_URI"), value("rack.url_scheme"));
                let url = format!("{scheme}://{}{path}", value("HTTP_HOST"));
                for piece in answer(&url).as_bytes().chunks(7) {
                    session.write(piece).unwrap();
                }
                asked.push(url);
                assert!(asked.len() < 100);
            }
            asked
        })
    }

    #[test]
    fn each_path_is_asked_for_once_and_then_twice_more() {
        let [first, more] = run(&["/", "/b?c=d"], |_| "Status: 200\r\n\r\n".to_owned());
        let all = ["http://app.test:8080/", "http://app.test:8080/b?c=d"];
        assert_eq!(first, all);
        assert_eq!(more, [all, all].concat());
    }

    #[test]
    fn redirects_within_the_app_are_followed() {
        let answer = |url: &str| match url {
            "http://app.test:8080/" => "Status: 301\nlocation: https://app.test/\n\n".to_owned(),
            "https://app.test/" => "Status: 302\nLocation: /login?x#top\n\n".to_owned(),
            _ => "Status: 200\n\nhello".to_owned(),
        };
        let [first, more] = run(&["/", "/up"], answer);
        let login = "https://app.test/login?x";
        assert_eq!(
            first,
            [
                "http://app.test:8080/",
                "https://app.test/",
                login,
                "https://app.test/up"
            ]
        );
        assert_eq!(more, [login, "https://app.test/up"].repeat(2));
    }

    #[test]
    fn other_redirects_are_not_followed_nor_endless_ones() {
        for location in [
            "https://other.test/",
            "//other.test/",
            "mailto:a@b",
            "x",
            "/",
            "\u{e9}",
        ] {
            let [first, _] = run(&["/"], |_| format!("Status: 302\nlocation: {location}\n\n"));
            assert_eq!(first.len(), 1, "{location}");
        }
        let [first, more] = run(&["/"], |url| format!("Status: 302\nlocation: {url}x\n\n"));
        assert_eq!((first.len(), more.len()), (1 + MAX_REDIRECTS, 2));
    }

    #[test]
    fn responses_that_are_long_or_malformed_end_alone() {
        let mut session = SampleSession::new("app.test", &["/".to_owned(), "/b".to_owned()]);
        session.next_head().unwrap();
        assert_eq!(session.unanswered(), Some("/"));
        session.write(b"no head\n\n").unwrap();
        assert_eq!(session.write(b"more"), Err(ResponseEnded));
        session.next_head().unwrap();
        session.write(b"Status: 500\n\n").unwrap();
        let long = vec![0; MAX_RESPONSE];
        assert_eq!(session.write(&long), Err(ResponseEnded));
        assert!(session.next_head().is_none());
        let statuses: Vec<_> = session
            .answered()
            .iter()
            .map(|sample| sample.status)
            .collect();
        assert_eq!(statuses, [None, Some(500)]);
        session.next_head().unwrap();
        session.write(b"Status: 200\n\n").unwrap();
        session.flush_now();
        assert_eq!(session.write(b"x"), Err(ResponseEnded));
    }
}

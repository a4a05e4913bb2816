//! The router's log line: Heroku's fields in Heroku's order, then ours, so that parsers keep working.
//!
//! A line is written when it is read: most never are, and a hit of the cache costs little more than its line would.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use corundum_abi::names::{DynoName, ReleaseVersion};
use http::Method;

use crate::failure::Failure;
use crate::request_id::RequestId;

/// What is known of a request when it has ended.
#[derive(Debug, Default)]
pub struct Entry {
    /// The method.
    pub method: Method,
    /// Path and query as they came.
    pub path: Box<str>,
    /// The host name.
    pub host: Arc<str>,
    /// `X-Request-Id`.
    pub request_id: RequestId,
    /// `X-Forwarded-For`.
    pub forwarded: Arc<str>,
    /// Who served it.
    pub dyno: Option<DynoName>,
    /// Its release.
    pub release: Option<ReleaseVersion>,
    /// From the dyno's having it to the end of the response.
    pub service: Duration,
    /// How long it waited for a dyno.
    pub queue: Duration,
    /// The status.
    pub status: u16,
    /// Bytes of the body.
    pub bytes: u64,
    /// `http1.0`, `http1.1` or `http2`.
    pub protocol: &'static str,
    /// Whether the client's connection is encrypted.
    pub tls: bool,
    /// Time the dyno computed.
    pub cpu: Duration,
    /// Bytes of the dyno's memory.
    pub memory: u64,
    /// What the cache made of it; nothing where it was not asked.
    pub cache: &'static str,
}

/// A line, for a request that ended well or in a failure; its text is its [`Display`](fmt::Display).
#[derive(Debug)]
pub struct Line {
    entry: Entry,
    failure: Option<Failure>,
}

impl Line {
    /// The line of a request.
    pub fn new(entry: Entry, failure: Option<Failure>) -> Self {
        Self { entry, failure }
    }

    /// Bytes that it takes in memory.
    pub fn weight(&self) -> usize {
        let Entry {
            method,
            path,
            host,
            request_id,
            forwarded,
            ..
        } = &self.entry;
        let texts = method.as_str().len() + path.len() + host.len() + forwarded.len();
        let malformed = match &self.failure {
            Some(Failure::PoorlyFormatted(what)) => what.len(),
            _ => 0,
        };
        size_of::<Self>() + texts + request_id.weight() + malformed
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failure {
            None => f.write_str("at=info")?,
            Some(failure) => write!(
                f,
                "at={} code={} desc=\"{}\"",
                failure.level(),
                failure.code(),
                failure.description()
            )?,
        }
        write!(f, "{}", self.entry)?;
        if let Some(Failure::PoorlyFormatted(what)) = &self.failure {
            write!(f, " response={what:?}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            " method={} path={:?} host={} request_id={} fwd={:?} dyno=",
            self.method, self.path, self.host, self.request_id, self.forwarded
        )?;
        if let Some(dyno) = &self.dyno {
            write!(f, "{dyno}")?;
        }
        write!(
            f,
            " connect=0ms service={}ms status={} bytes={} protocol={} tls={}",
            self.service.as_millis(),
            self.status,
            self.bytes,
            self.protocol,
            self.tls,
        )?;
        let cache = if self.cache.is_empty() {
            "bypass"
        } else {
            self.cache
        };
        write!(
            f,
            " queue={}ms cache={cache} cpu={}ms mem={}kB",
            self.queue.as_millis(),
            self.cpu.as_millis(),
            self.memory / 1024
        )?;
        match self.release {
            Some(release) => write!(f, " release={release}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            path: "/a\"b".into(),
            host: "a.example".into(),
            request_id: RequestId::Client("id".into()),
            forwarded: "1.2.3.4".into(),
            dyno: "web.1".parse().ok(),
            release: Some(ReleaseVersion(6)),
            service: Duration::from_micros(7900),
            status: 200,
            protocol: "http1.1",
            memory: 2048,
            ..Entry::default()
        }
    }

    #[test]
    fn a_line_begins_as_herokus_and_ends_with_ours() {
        assert_eq!(
            Line::new(entry(), None).to_string(),
            "at=info method=GET path=\"/a\\\"b\" host=a.example request_id=id fwd=\"1.2.3.4\" dyno=web.1 connect=0ms \
             service=7ms status=200 bytes=0 protocol=http1.1 tls=false queue=0ms cache=bypass cpu=0ms mem=2kB release=v6"
        );
        let line = Line::new(entry(), Some(Failure::RequestTimeout)).to_string();
        assert!(line.starts_with("at=error code=H12 desc=\"Request timeout\" method=GET"));
        let line = Line::new(entry(), Some(Failure::PoorlyFormatted("x\n".into()))).to_string();
        assert!(line.ends_with(" release=v6 response=\"x\\n\""), "{line}");
    }

    #[test]
    fn a_lines_weight_counts_what_clients_make_long() {
        let long: Box<str> = "x".repeat(5000).into();
        let longer = Line::new(
            Entry {
                path: long,
                ..entry()
            },
            None,
        );
        let difference = longer.weight() - Line::new(entry(), None).weight();
        assert_eq!(difference, 5000 - "/a\"b".len());
    }
}

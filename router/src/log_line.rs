//! The router's log line: Heroku's fields in Heroku's order, then Corundum's, so that log parsers keep working.
//!
//! A line is formatted when it is read. Most lines are never read, and formatting one costs about as much as a cache
//! hit.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use corundum_abi::names::{DynoName, ReleaseVersion};
use http::Method;

use crate::failure::Failure;
use crate::request_id::RequestId;

/// Everything that the log and the metrics record of a request.
#[derive(Debug, Default)]
pub struct RequestRecord {
    /// The method.
    pub method: Method,
    /// Path and query, unchanged.
    pub path: Box<str>,
    /// The host name.
    pub host: Arc<str>,
    /// `X-Request-Id`.
    pub request_id: RequestId,
    /// `X-Forwarded-For`.
    pub forwarded: Arc<str>,
    /// Dyno that served it, if any.
    pub dyno: Option<DynoName>,
    /// Release of that dyno.
    pub release: Option<ReleaseVersion>,
    /// Time from the dyno's start on the request to the end of the response.
    pub service: Duration,
    /// Time that it waited for a dyno.
    pub queue: Duration,
    /// The status.
    pub status: u16,
    /// Bytes of the response body.
    pub bytes: u64,
    /// `http1.0`, `http1.1` or `http2`.
    pub protocol: &'static str,
    /// True if the client's connection is encrypted.
    pub tls: bool,
    /// Processor time of the dyno.
    pub cpu: Duration,
    /// Bytes of the dyno's memory.
    pub memory: u64,
    /// Result of the cache; empty if it was not consulted.
    pub cache: &'static str,
}

/// A log line. [`Display`](fmt::Display) formats its text.
#[derive(Debug)]
pub struct RouterLogLine {
    entry: RequestRecord,
    failure: Option<Failure>,
}

impl RouterLogLine {
    /// Creates the line of a request that ended well or in `failure`.
    pub fn new(entry: RequestRecord, failure: Option<Failure>) -> Self {
        Self { entry, failure }
    }

    /// Bytes of memory that the line occupies.
    pub fn weight(&self) -> usize {
        let RequestRecord {
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

impl fmt::Display for RouterLogLine {
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

impl fmt::Display for RequestRecord {
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

    fn entry() -> RequestRecord {
        RequestRecord {
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
            ..RequestRecord::default()
        }
    }

    #[test]
    fn line_starts_with_herokus_fields_and_ends_with_corundums() {
        assert_eq!(
            RouterLogLine::new(entry(), None).to_string(),
            "at=info method=GET path=\"/a\\\"b\" host=a.example request_id=id fwd=\"1.2.3.4\" dyno=web.1 connect=0ms \
             service=7ms status=200 bytes=0 protocol=http1.1 tls=false queue=0ms cache=bypass cpu=0ms mem=2kB release=v6"
        );
        let line = RouterLogLine::new(entry(), Some(Failure::RequestTimeout)).to_string();
        assert!(line.starts_with("at=error code=H12 desc=\"Request timeout\" method=GET"));
        let line =
            RouterLogLine::new(entry(), Some(Failure::PoorlyFormatted("x\n".into()))).to_string();
        assert!(line.ends_with(" release=v6 response=\"x\\n\""), "{line}");
    }

    #[test]
    fn weight_of_a_line_includes_fields_from_the_client() {
        let long: Box<str> = "x".repeat(5000).into();
        let longer = RouterLogLine::new(
            RequestRecord {
                path: long,
                ..entry()
            },
            None,
        );
        let difference = longer.weight() - RouterLogLine::new(entry(), None).weight();
        assert_eq!(difference, 5000 - "/a\"b".len());
    }
}

//! The router's log line: Heroku's fields in Heroku's order, then ours, so that parsers keep working.

use std::fmt::Write;
use std::time::Duration;

use corundum_sdk::names::{DynoName, ReleaseVersion};

use crate::failure::Failure;

/// What is known of a request when it has ended.
#[derive(Debug, Default)]
pub struct Entry {
    /// The method.
    pub method: String,
    /// Path and query as they came.
    pub path: String,
    /// The host name.
    pub host: String,
    /// `X-Request-Id`.
    pub request_id: String,
    /// `X-Forwarded-For`.
    pub forwarded: String,
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

impl Entry {
    /// The line, for a request that ended well or in `failure`.
    pub fn line(&self, failure: Option<&Failure>) -> String {
        let mut line = match failure {
            None => "at=info".to_owned(),
            Some(failure) => format!(
                "at={} code={} desc=\"{}\"",
                failure.level(),
                failure.code(),
                failure.description()
            ),
        };
        let dyno = self
            .dyno
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        let _ = write!(
            line,
            " method={} path={:?} host={} request_id={} fwd={:?} dyno={dyno} connect=0ms service={}ms status={} bytes={} protocol={} tls={}",
            self.method,
            self.path,
            self.host,
            self.request_id,
            self.forwarded,
            self.service.as_millis(),
            self.status,
            self.bytes,
            self.protocol,
            self.tls,
        );
        let _ = write!(
            line,
            " queue={}ms cache={} cpu={}ms mem={}kB",
            self.queue.as_millis(),
            if self.cache.is_empty() {
                "bypass"
            } else {
                self.cache
            },
            self.cpu.as_millis(),
            self.memory / 1024
        );
        if let Some(release) = self.release {
            let _ = write!(line, " release={release}");
        }
        if let Some(Failure::PoorlyFormatted(what)) = failure {
            let _ = write!(line, " response={what:?}");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_as_herokus_and_ends_with_ours() {
        let entry = Entry {
            method: "GET".into(),
            path: "/a\"b".into(),
            host: "a.example".into(),
            request_id: "id".into(),
            forwarded: "1.2.3.4".into(),
            dyno: "web.1".parse().ok(),
            release: Some(ReleaseVersion(6)),
            service: Duration::from_micros(7900),
            status: 200,
            protocol: "http1.1",
            memory: 2048,
            ..Entry::default()
        };
        assert_eq!(
            entry.line(None),
            "at=info method=GET path=\"/a\\\"b\" host=a.example request_id=id fwd=\"1.2.3.4\" dyno=web.1 connect=0ms \
             service=7ms status=200 bytes=0 protocol=http1.1 tls=false queue=0ms cache=bypass cpu=0ms mem=2kB release=v6"
        );
        let line = entry.line(Some(&Failure::RequestTimeout));
        assert!(line.starts_with("at=error code=H12 desc=\"Request timeout\" method=GET"));
    }
}

//! A line of a log. A line of the router is formatted when somebody reads it, which is rare.

use std::borrow::Cow;
use std::fmt;

use corundum_router::log_line;
use jiff::Timestamp;

/// Bytes after which a line is cut. A request can bring a header of 128 KB into the router's line.
pub(super) const MAX_LENGTH: usize = 12_000;

/// The source of the router's lines.
const ROUTER: &str = "corundum[router]";

/// A line of a log.
#[derive(Debug)]
pub(crate) struct LogEntry {
    at: Timestamp,
    content: LogContent,
}

#[derive(Debug)]
enum LogContent {
    /// The source, such as `app[web.1]` or `corundum[api]`, and its text.
    Text(Cow<'static, str>, Box<str>),
    Access(Box<log_line::RouterLogLine>),
}

impl LogEntry {
    /// Creates a line of `source` with the current time.
    pub(crate) fn new(source: Cow<'static, str>, text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(MAX_LENGTH)];
        Self::now(LogContent::Text(source, text.into()))
    }

    /// Creates a line of the router's access log with the current time. A long line is formatted at once, so that only the
    /// part that is shown is kept.
    pub(crate) fn of_access(line: log_line::RouterLogLine) -> Self {
        if line.weight() > MAX_LENGTH {
            return Self::new(ROUTER.into(), &line.to_string());
        }
        Self::now(LogContent::Access(line.into()))
    }

    fn now(content: LogContent) -> Self {
        let at = Timestamp::now();
        Self { at, content }
    }

    /// Returns the bytes that the line takes in memory.
    pub(crate) fn weight(&self) -> usize {
        let beside = match &self.content {
            LogContent::Text(source, text) => source.len() + text.len(),
            LogContent::Access(line) => line.weight(),
        };
        size_of::<Self>() + beside
    }

    /// Returns the line's source, such as `app[web.1]` or `corundum[api]`.
    pub(crate) fn source(&self) -> &str {
        match &self.content {
            LogContent::Text(source, _) => source,
            LogContent::Access(_) => ROUTER,
        }
    }

    /// Returns the line as logs show it, without a line break.
    pub(crate) fn text(&self) -> String {
        let mut text = self.to_string();
        text.truncate(text.floor_char_boundary(MAX_LENGTH));
        text
    }
}

impl fmt::Display for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00");
        let source = self.source();
        match &self.content {
            LogContent::Text(_, text) => write!(f, "{time} {source}: {text}"),
            LogContent::Access(line) => write!(f, "{time} {source}: {line}"),
        }
    }
}

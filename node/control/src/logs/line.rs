//! A line of a log. One of the router's is written when it is read, which few are.

use std::borrow::Cow;
use std::fmt;

use corundum_router::log_line;
use jiff::Timestamp;

/// Bytes of one line, its end cut off: a request can bring a header of 128 KB into the router's line.
pub(crate) const LONGEST: usize = 12_000;

/// The source of the router's lines.
const ROUTER: &str = "corundum[router]";

/// A line.
#[derive(Debug)]
pub(crate) struct Line {
    at: Timestamp,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Who says what: `app[web.1]`, `corundum[api]` and the like.
    Said(Cow<'static, str>, Box<str>),
    Routed(Box<log_line::RouterLogLine>),
}

impl Line {
    /// What `source` says now.
    pub(crate) fn said(source: Cow<'static, str>, text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(LONGEST)];
        Self::now(Content::Said(source, text.into()))
    }

    /// What the router says now. A long line is written at once, so that what is not shown of it is not kept either.
    pub(crate) fn routed(line: log_line::RouterLogLine) -> Self {
        if line.weight() > LONGEST {
            return Self::said(ROUTER.into(), &line.to_string());
        }
        Self::now(Content::Routed(line.into()))
    }

    fn now(content: Content) -> Self {
        let at = Timestamp::now();
        Self { at, content }
    }

    /// Bytes that it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        let beside = match &self.content {
            Content::Said(source, text) => source.len() + text.len(),
            Content::Routed(line) => line.weight(),
        };
        size_of::<Self>() + beside
    }

    /// As logs show it, without an end of line.
    pub(crate) fn text(&self) -> String {
        let mut text = self.to_string();
        text.truncate(text.floor_char_boundary(LONGEST));
        text
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00");
        match &self.content {
            Content::Said(source, text) => write!(f, "{time} {source}: {text}"),
            Content::Routed(line) => write!(f, "{time} {ROUTER}: {line}"),
        }
    }
}

//! Where messages begin and end on a connection.

use super::chunked::Chunked;
use super::head::{Head, Length};
use crate::failure::Failure;

/// A connection's messages as far as they have come.
#[derive(Debug)]
pub(crate) struct Framing {
    state: State,
    /// Heads that have passed.
    heads: u64,
    /// Header lines that a head may have.
    fields: usize,
}

#[derive(Debug)]
enum State {
    Head(Head),
    Body(u64),
    Chunked(Chunked),
}

/// What must not pass.
#[derive(Debug)]
pub(crate) struct Refused {
    /// How many bytes are good.
    pub(crate) passed: usize,
    /// Which request it is, from 1.
    pub(crate) request: u64,
    /// What its client is told.
    pub(crate) failure: Failure,
    /// Whether it has a head that has passed.
    pub(crate) part: Part,
}

/// A part of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Its head.
    Head,
    /// Its body.
    Body,
}

impl Framing {
    pub(crate) fn new(fields: usize) -> Self {
        Self {
            state: State::Head(Head::default()),
            heads: 0,
            fields,
        }
    }

    /// The request whose head or body comes next, from 1.
    pub(crate) fn request(&self) -> u64 {
        match self.state {
            State::Head(_) => self.heads + 1,
            State::Body(_) | State::Chunked(_) => self.heads,
        }
    }

    /// Which part of it comes next.
    pub(crate) fn part(&self) -> Part {
        match self.state {
            State::Head(_) => Part::Head,
            State::Body(_) | State::Chunked(_) => Part::Body,
        }
    }

    /// How many of `bytes` can pass. What does not is the start of a head, and is to be shown again with more after it.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let part = self.part();
            let request = self.request();
            let refused = |passed, failure| Refused {
                passed,
                request,
                failure,
                part,
            };
            match &mut self.state {
                State::Head(head) => {
                    let looked = head.look(rest, self.fields);
                    let Some((length, body)) = looked.map_err(|failure| refused(at, failure))?
                    else {
                        break;
                    };
                    at += length;
                    self.heads += 1;
                    self.state = match body {
                        Length::Known(0) => State::Head(Head::default()),
                        Length::Known(length) => State::Body(length),
                        Length::Chunked => State::Chunked(Chunked::new()),
                    };
                }
                State::Body(left) => {
                    let taken = usize::try_from(*left).map_or(rest.len(), |l| l.min(rest.len()));
                    at += taken;
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = State::Head(Head::default());
                    }
                }
                State::Chunked(chunked) => {
                    let advanced = chunked.advance(rest);
                    at += advanced.map_err(|(good, failure)| refused(at + good, failure))?;
                    if chunked.is_end() {
                        self.state = State::Head(Head::default());
                    }
                }
            }
        }
        Ok(at)
    }
}

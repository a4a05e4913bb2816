//! The router's contract over real connections, with a grid of a few lines behind it.
//!
//! Each row of the contract has its test:
//!
//! | row | test |
//! |---|---|
//! | H10, H11, H12, H13, H14, H20, H80, H81 as clients and logs see them | `codes` here |
//! | what makes a grid give H10, H11, H12, H13, H14, H20, R10, R15 | `host/tests` (dynos that crash, hang, wait, grow) |
//! | H15, H27, H28 | `codes`, `slow` |
//! | H17, H18, H22, H25, H26, H31 | `codes` |
//! | timeouts of heads (408), of idle connections | `limits` |
//! | 400 for malformed heads and bodies | the corpus, `tests/http1` |
//! | 405, 413, 414, 417, 431 | `limits`, and the corpus |
//! | headers to the app, hop-by-hop | `headers` |
//! | HEAD, 204, 304, HTTP/1.0, trailers, `Expect`, pipelining, early answers, WebSockets | `messages` |
//! | what slow clients cannot do | `slow` |
//! | what clients of a stopped router get | `stopping` |
//! | HTTP/2 | `tests/http2` |

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod codes;
mod failures;
mod headers;
mod limits;
mod messages;
mod slow;
mod stopping;

//! The contract of the router, tested over real connections with a fake grid.
//!
//! Tests by subject:
//!
//! | subject | tests |
//! |---|---|
//! | H10, H11, H12, H13, H14, H20, H80, H81 in responses and logs | `codes` |
//! | causes of H10, H11, H12, H13, H14, H20, R10, R15 in the grid | `host/tests` (dynos that crash, hang, wait, grow) |
//! | H15, H27, H28 | `codes`, `slow` |
//! | H17, H18, H22, H25, H26, H31 | `codes` |
//! | timeouts of request heads (408) and idle connections | `limits` |
//! | 400 for malformed heads and bodies | the corpus in `tests/http1` |
//! | 405, 413, 414, 417, 431 | `limits`, and the corpus |
//! | headers to the app, hop-by-hop headers | `headers` |
//! | HEAD, 204, 304, HTTP/1.0, trailers, `Expect`, pipelining, early answers, WebSockets | `messages` |
//! | slow clients | `slow` |
//! | graceful shutdown | `stopping` |
//! | HTTP/2 | `tests/http2` |

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod codes;
mod failures;
mod fairness;
mod headers;
mod limits;
mod messages;
mod slow;
mod stopping;

//! A router in front of a fake grid, and clients for it, which all tests of the router share.
//!
//! | module | fixture |
//! |---|---|
//! | [`router`] | [`TestRouter`](router::TestRouter): a router that listens, with requests for it |
//! | [`grid`] | [`FakeGrid`](grid::FakeGrid): a grid whose apps are a closure |
//! | [`scripted`] | an app that chooses its response by the path of the request |
//! | [`response`] | a response of HTTP/1.1, parsed |
//! | [`encoding`] | response bodies with a content coding |
//! | [`http1`] | a reader of several responses on one connection |
//! | [`corpus`] | a runner of test corpora |
//! | [`wait`] | polling with a deadline |

#![allow(
    clippy::unwrap_used,
    reason = "a fixture that fails has to fail its test"
)]

pub mod corpus;
pub mod encoding;
pub mod grid;
pub mod http1;
pub mod response;
pub mod router;
pub mod scripted;
pub mod wait;

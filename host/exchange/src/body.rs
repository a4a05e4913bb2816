//! Bodies of requests and responses, either complete or streamed.

use std::fmt;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;

use crate::connection::ClientConnection;

/// Failure of a body whose sender stopped before the body's end.
///
/// A client interrupts a request when it closes its connection or breaks the framing of its body; a dyno interrupts a
/// response when it ends before it has written everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body was interrupted before its end")]
pub struct BodyInterrupted;

/// A streamed request body. An error is its last item.
pub type BodyStream = BoxStream<'static, Result<Bytes, BodyInterrupted>>;

/// The receiving end of a streamed response body. An error is its last item.
pub type BodyReceiver = mpsc::Receiver<Result<Bytes, BodyInterrupted>>;

/// A request's body on its way to a dyno.
pub enum RequestBody {
    /// No body.
    Empty,
    /// A body that has arrived completely.
    Full(Bytes),
    /// A body that is still arriving. The dyno's reads pull it, so a slow dyno slows its sender down.
    Stream(BodyStream),
    /// No body, and the connection itself, which the app may take over.
    Connection(ClientConnection),
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Full(bytes) => f.debug_tuple("Full").field(&bytes.len()).finish(),
            Self::Stream(_) => f.write_str("Stream"),
            Self::Connection(_) => f.write_str("Connection"),
        }
    }
}

/// The body of a dyno's response.
pub enum DynoBody {
    /// A complete body: the dyno has served the request.
    Full(Bytes),
    /// A body that the dyno is still writing. It is complete when the channel closes without an error.
    Stream(BodyReceiver),
}

impl fmt::Debug for DynoBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(bytes) => f.debug_tuple("Full").field(&bytes.len()).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

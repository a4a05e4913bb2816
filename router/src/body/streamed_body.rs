//! A response body that is still arriving.

use bytes::Bytes;
use corundum_exchange::{BodyInterrupted, BodyReceiver};

use crate::cache::streaming_fill::{FillReader, StreamFault};

/// A response body that is still arriving, read by the task that buffers it for its client.
pub(crate) enum StreamedBody {
    /// From the dyno that writes it.
    Dyno(BodyReceiver),
    /// From the cache, which stores it at the same time.
    Fill(FillReader),
}

impl StreamedBody {
    /// Waits for the next piece; none at the end of the body. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`StreamFault`] when the body broke off.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, StreamFault> {
        match self {
            Self::Dyno(stream) => {
                let piece = stream.recv().await.transpose();
                piece.map_err(|BodyInterrupted| StreamFault::Interrupted)
            }
            Self::Fill(reader) => reader.next().await,
        }
    }
}

//! Bodies of requests that must arrive in time.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::{Instant, timeout_at};

/// Deadlines of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyDeadlines {
    /// Time without a byte.
    pub(crate) idle: Duration,
    /// Time for the whole body.
    pub(crate) total: Duration,
}

/// A body's state between two pieces.
struct PendingBody<B> {
    body: B,
    idle: Duration,
    end: Instant,
}

/// Returns the data of a body. The stream fails when a deadline passes, and ends with its first failure.
pub(crate) fn within<B>(
    body: B,
    deadlines: BodyDeadlines,
) -> impl Stream<Item = io::Result<Bytes>> + Send
where
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let state = PendingBody {
        body,
        idle: deadlines.idle,
        end: Instant::now() + deadlines.total,
    };
    futures_util::stream::try_unfold(state, |mut state| async move {
        loop {
            let end = state.end.min(Instant::now() + state.idle);
            let frame = timeout_at(end, state.body.frame()).await;
            let frame = frame.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
            let Some(frame) = frame else { return Ok(None) };
            if let Ok(bytes) = frame.map_err(io::Error::other)?.into_data() {
                return Ok(Some((bytes, state)));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, TryStreamExt};
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    /// Reads a body whose pieces come every 20 ms, and which never ends.
    async fn failure(idle: u64, total: u64) -> (io::ErrorKind, usize) {
        let pieces = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((
                Ok::<_, io::Error>(Frame::data(Bytes::from_static(b"x"))),
                (),
            ))
        });
        let deadlines = BodyDeadlines {
            idle: Duration::from_millis(idle),
            total: Duration::from_millis(total),
        };
        let mut read = Box::pin(within(StreamBody::new(pieces.boxed()), deadlines));
        let mut count = 0;
        loop {
            match read.try_next().await {
                Ok(Some(_)) => count += 1,
                Ok(None) => panic!("the body ended"),
                Err(error) => return (error.kind(), count),
            }
        }
    }

    #[tokio::test]
    async fn idle_body_and_endless_body_fail() {
        assert_eq!(failure(1, 60_000).await, (io::ErrorKind::TimedOut, 0));
        let (kind, count) = failure(60_000, 500).await;
        assert_eq!(kind, io::ErrorKind::TimedOut);
        assert!(count > 0);
    }
}

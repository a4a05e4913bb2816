//! Buffering of a request's body before a dyno is taken, so that a slow client keeps no dyno busy.
//!
//! A body beyond the limit streams to the dyno after its buffered beginning. A client that pauses for too long (H28)
//! and a body that is malformed or exceeds the app's quota end the request.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corundum_exchange::{BodyInterrupted, RequestBody};
use futures_util::StreamExt;
use futures_util::stream::unfold;
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::connection_state::RequestHandle;
use crate::failure::Failure;
use crate::fair_pool::{AppPool, PoolReservation};
use crate::limits::Limits;
use crate::validate;

/// A request's body, buffered as far as the limits allow.
pub(crate) struct BufferedRequest {
    /// Length of the body in bytes, if it is known.
    pub(crate) length: Option<u64>,
    /// The body for the dyno: its buffered beginning, and the rest as it arrives.
    pub(crate) body: RequestBody,
    /// The failure that interrupted the body while the dyno read it.
    pub(crate) fault: BodyFailure,
    /// Memory of the buffered bytes, held until the dyno has answered.
    _reservation: Option<PoolReservation>,
}

/// The failure that interrupted a body, if any.
pub(crate) type BodyFailure = Arc<OnceLock<Failure>>;

/// A body that is still arriving.
struct ArrivingBody {
    body: Incoming,
    arrived: u64,
    most: u64,
    idle: Duration,
    handle: RequestHandle,
}

impl BufferedRequest {
    /// Buffers `body`, which may have `most` bytes at all.
    ///
    /// # Errors
    ///
    /// The failure that the client gets if its body breaks off, pauses for too long or is too large.
    pub(crate) async fn gather(
        body: Incoming,
        most: u64,
        limits: &Limits,
        memory: AppPool<'_>,
        handle: &RequestHandle,
    ) -> Result<Self, Failure> {
        if body.is_end_stream() {
            return Ok(Self::whole(Bytes::new(), None));
        }
        let length = body.size_hint().exact();
        let mut source = ArrivingBody {
            body,
            arrived: 0,
            most,
            idle: limits.client_idle,
            handle: handle.clone(),
        };
        let Some(first) = source.next().await? else {
            return Ok(Self::whole(Bytes::new(), None));
        };
        let mut reservation = memory.try_reserve(first.len());
        if source.body.is_end_stream() {
            return Ok(Self::whole(first, reservation));
        }
        let mut buffered = BytesMut::from(first);
        while buffered.len() < limits.request_buffer
            && let Some(room) = &mut reservation
        {
            let Some(more) = source.next().await? else {
                return Ok(Self::whole(buffered.freeze(), reservation));
            };
            buffered.extend_from_slice(&more);
            if !room.try_grow(more.len()) {
                break;
            }
        }
        let fault = BodyFailure::default();
        Ok(Self {
            length,
            body: source.stream(buffered.freeze(), fault.clone()),
            fault,
            _reservation: reservation,
        })
    }

    fn whole(bytes: Bytes, reservation: Option<PoolReservation>) -> Self {
        Self {
            length: Some(bytes.len() as u64),
            body: if bytes.is_empty() {
                RequestBody::Empty
            } else {
                RequestBody::Full(bytes)
            },
            fault: BodyFailure::default(),
            _reservation: reservation,
        }
    }
}

impl ArrivingBody {
    /// Returns the next bytes, or `None` at the end. Trailers are dropped: CGI has no place for them.
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = tokio::time::timeout(self.idle, self.body.frame());
            let frame = match frame.await {
                Err(_) => return Err(Failure::ClientIdle),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => {
                    let refusal = self.handle.refusal().cloned();
                    return Err(refusal.unwrap_or(Failure::ClientInterrupted));
                }
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            self.arrived += data.len() as u64;
            if self.arrived > self.most {
                return Err(validate::body_too_large());
            }
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    /// Streams the buffered bytes, then the rest as it arrives.
    fn stream(self, buffered: Bytes, fault: BodyFailure) -> RequestBody {
        let first = futures_util::stream::iter([Ok(buffered)]);
        let rest = unfold(Some((self, fault)), |state| async {
            let (mut source, fault) = state?;
            match source.next().await {
                Ok(bytes) => bytes.map(|bytes| (Ok(bytes), Some((source, fault)))),
                Err(failure) => {
                    let _ = fault.set(failure);
                    Some((Err(BodyInterrupted), None))
                }
            }
        });
        RequestBody::Stream(first.chain(rest).boxed())
    }
}

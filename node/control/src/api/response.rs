//! Responses of the API, and the bodies of requests.

use std::time::Duration;

use bytes::Bytes;
use corundum_api::ErrorId;
use futures_util::TryStreamExt;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use crate::connections::body_deadline::{self, BodyDeadlines};

/// A response's body.
pub(crate) type ApiBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// The result of an endpoint.
pub(crate) type ApiResult = Result<Response<ApiBody>, ApiError>;

/// Most bytes of a request's body, those of git excepted.
const MAX_BODY: usize = 4 << 20;

/// Deadlines of a request's body, those of git excepted.
const BODY: BodyDeadlines = BodyDeadlines {
    idle: Duration::from_secs(15),
    total: Duration::from_secs(60),
};

/// Reads a request's body; an empty one is an empty object.
pub(crate) async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, ApiError> {
    let bytes = read_bytes(request).await?;
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(text).map_err(|error| {
        let message = error.to_string();
        // A position helps to find an error of the syntax, not a wrong value.
        let value = message.rsplit_once(" at line ").map(|(value, _)| value);
        ApiError::invalid(match (error.is_data(), value) {
            (true, Some(value)) => value,
            _ => &message,
        })
    })
}

/// Reads and drops a request's body. A body that stays unread may still be in transit, and would cost the client its
/// connection.
pub(crate) async fn drain(request: Request<Incoming>) {
    let _ = read_bytes(request).await;
}

async fn read_bytes(request: Request<Incoming>) -> Result<Bytes, ApiError> {
    let body = std::pin::pin!(body_deadline::within(request.into_body(), BODY));
    let body = StreamBody::new(body.map_ok(Frame::data));
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::new(
            ErrorId::TooLarge,
            format!("request body: larger than {} MB", MAX_BODY >> 20),
        )),
        Err(error) => Err(ApiError::invalid(
            match error.downcast_ref::<std::io::Error>() {
                Some(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                    "request body: not received in time; send it again"
                }
                _ => "request body: cut off",
            },
        )),
    }
}

/// Answers a resource.
pub(crate) fn ok(resource: &impl Serialize) -> ApiResult {
    Ok(json_response(StatusCode::OK, resource))
}

/// Answers a resource that the request created.
pub(crate) fn created(resource: &impl Serialize) -> ApiResult {
    Ok(json_response(StatusCode::CREATED, resource))
}

/// Answers an action that goes on behind the response.
pub(crate) fn accepted() -> ApiResult {
    #[derive(Serialize)]
    struct Nothing {}
    Ok(json_response(StatusCode::ACCEPTED, &Nothing {}))
}

/// Makes a JSON response.
pub(crate) fn json_response(status: StatusCode, resource: &impl Serialize) -> Response<ApiBody> {
    let (status, mut body) = match serde_json::to_string(resource) {
        Ok(body) => (status, body),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    body.push('\n');
    let mut response = text(status, &body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Makes a plain response.
pub(crate) fn text(status: StatusCode, text: &str) -> Response<ApiBody> {
    let body = Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {});
    let mut response = Response::new(BodyExt::boxed_unsync(body));
    *response.status_mut() = status;
    response
}

//! Responses of the API, and the bodies of requests.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use super::error::ApiError;

/// The body of a response.
pub(crate) type ApiBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// The result of a handler.
pub(crate) type ApiResult = Result<Response<ApiBody>, ApiError>;

/// Bytes of a request's body, except for git's requests.
const MAX_BODY: usize = 4 << 20;

/// Reads a request's JSON body.
pub(crate) async fn read<T: serde::de::DeserializeOwned>(
    request: Request<Incoming>,
) -> Result<T, ApiError> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect().await;
    let bytes = match body {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!("a request may have {} MB", MAX_BODY >> 20),
            ));
        }
        Err(_) => return Err(ApiError::invalid("the request's body was cut off")),
    };
    serde_json::from_slice(&bytes).map_err(ApiError::invalid)
}

/// Reads and drops a request's body. A body that stays unread may still be in transit, and would cost the client its
/// connection.
pub(crate) async fn drain(request: Request<Incoming>) {
    let _ = Limited::new(request.into_body(), MAX_BODY).collect().await;
}

/// Returns a successful JSON response.
pub(crate) fn ok(value: &Value) -> ApiResult {
    Ok(json_response(StatusCode::OK, value))
}

/// Returns a JSON response.
pub(crate) fn json_response(status: StatusCode, value: &Value) -> Response<ApiBody> {
    let mut response = text(status, &format!("{value}\n"));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Returns a plain text response.
pub(crate) fn text(status: StatusCode, text: &str) -> Response<ApiBody> {
    let body = Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {});
    let mut response = Response::new(BodyExt::boxed_unsync(body));
    *response.status_mut() = status;
    response
}

//! Errors as responses.

use corundum_api::{ErrorId, ErrorResource};
use corundum_store::{Fault, HasFault};
use http::{Response, StatusCode};

use super::response::{ApiBody, json_response};

/// A refused or failed request.
#[derive(Debug)]
pub(crate) struct ApiError(ErrorResource);

impl ApiError {
    /// Makes an error, whose status follows from its kind.
    pub(crate) fn new(id: ErrorId, message: impl Into<String>) -> Self {
        Self(ErrorResource::new(id, message))
    }

    /// Makes the error of an invalid parameter (422).
    pub(crate) fn invalid(message: impl ToString) -> Self {
        Self::new(ErrorId::InvalidParams, message.to_string())
    }

    /// Makes the error of a resource that does not exist (404); `resource` is its kind.
    pub(crate) fn not_found(resource: &str, message: impl Into<String>) -> Self {
        let mut error = ErrorResource::new(ErrorId::NotFound, message);
        error.resource = Some(resource.to_owned());
        Self(error)
    }

    /// Makes the error of a path that is no endpoint (404).
    pub(crate) fn no_endpoint() -> Self {
        Self::new(ErrorId::NotFound, "no such endpoint of an app")
    }

    /// Returns the status of the response.
    fn status(&self) -> StatusCode {
        match self.0.id {
            ErrorId::Conflict => StatusCode::CONFLICT,
            ErrorId::Forbidden => StatusCode::FORBIDDEN,
            ErrorId::InvalidParams => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorId::NotFound => StatusCode::NOT_FOUND,
            ErrorId::RateLimit => StatusCode::TOO_MANY_REQUESTS,
            ErrorId::Restarting => StatusCode::SERVICE_UNAVAILABLE,
            ErrorId::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorId::Unauthorized => StatusCode::UNAUTHORIZED,
            ErrorId::Internal | ErrorId::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns the error's resource, for a protocol other than HTTP.
    pub(crate) fn into_resource(self) -> ErrorResource {
        self.0
    }

    /// Makes the response. Failures of the node are logged, since a client cannot mend them.
    pub(crate) fn into_response(self) -> Response<ApiBody> {
        let status = self.status();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = self.0.message, "API request failed");
        }
        json_response(status, &self.0)
    }
}

impl<E: HasFault> From<E> for ApiError {
    fn from(error: E) -> Self {
        let id = match error.fault() {
            Fault::NotFound => ErrorId::NotFound,
            Fault::Client => ErrorId::InvalidParams,
            Fault::Conflict => ErrorId::Conflict,
            Fault::Node => ErrorId::Internal,
        };
        Self::new(id, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use corundum_store::StoreError;

    use super::*;
    use crate::releases::error::ReleaseError;

    #[test]
    fn errors_of_the_node_are_500_and_errors_of_the_client_4xx() {
        let full = || std::io::Error::other("disk full");
        let status = |error: ReleaseError| ApiError::from(error).status().as_u16();
        assert_eq!(status(ReleaseError::Files(full())), 500);
        assert_eq!(status(StoreError::File(full()).into()), 500);
        assert_eq!(status(ReleaseError::NoTarget), 404);
        assert_eq!(status(ReleaseError::Busy), 409);
        let app = "one-app".parse().unwrap();
        assert_eq!(status(StoreError::NoApp(app).into()), 404);
    }
}

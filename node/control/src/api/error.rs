//! Errors as responses.

use corundum_store::{Fault, HasFault};
use http::StatusCode;

/// A failed request.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// The kind of the error, for programs.
    pub(crate) id: &'static str,
    pub(crate) message: String,
}

impl ApiError {
    /// Creates an error.
    pub(crate) fn new(status: StatusCode, id: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            id,
            message: message.into(),
        }
    }

    /// Creates the error of an invalid parameter (422).
    pub(crate) fn invalid(message: impl ToString) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_params",
            message.to_string(),
        )
    }

    /// Creates the error of a path that is no endpoint (404).
    pub(crate) fn no_endpoint() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "no such endpoint of an app",
        )
    }
}

/// Errors of the node are logged, since a client cannot mend them.
impl<E: HasFault> From<E> for ApiError {
    fn from(error: E) -> Self {
        let (status, id) = match error.fault() {
            Fault::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Fault::Client => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_params"),
            Fault::Conflict => (StatusCode::CONFLICT, "busy"),
            Fault::Node => {
                tracing::error!(%error, "API request failed");
                (StatusCode::INTERNAL_SERVER_ERROR, "internal")
            }
        };
        Self::new(status, id, error.to_string())
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
        let status = |error: ReleaseError| ApiError::from(error).status.as_u16();
        assert_eq!(status(ReleaseError::Files(full())), 500);
        assert_eq!(status(StoreError::File(full()).into()), 500);
        assert_eq!(status(ReleaseError::NoTarget), 404);
        assert_eq!(status(ReleaseError::Busy), 409);
        let app = "one-app".parse().unwrap();
        assert_eq!(status(StoreError::NoApp(app).into()), 404);
    }
}

//! Errors as the API answers them.

use serde::{Deserialize, Serialize};

/// The kind of an error, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorId {
    /// The app is being changed by another request (409).
    Conflict,
    /// The request may not do this (403).
    Forbidden,
    /// The node failed; its log says why (500).
    Internal,
    /// The request's values are wrong (422).
    InvalidParams,
    /// The app, the resource or the path does not exist (404).
    NotFound,
    /// The client has too many requests or connections open (429).
    RateLimit,
    /// Another process takes the node over (503).
    Restarting,
    /// The request's body exceeds the limit (413).
    TooLarge,
    /// The request has no valid token (401).
    Unauthorized,
    /// An error of a later version.
    #[serde(other)]
    Unknown,
}

/// The body of a response with an error status, at the top level as in v3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorResource {
    /// The kind of error.
    pub id: ErrorId,
    /// The reason and the remedy, for people.
    pub message: String,
    /// A page that says more.
    #[serde(default)]
    pub url: Option<String>,
    /// The kind of resource that was not found: `app`, `release`.
    #[serde(default)]
    pub resource: Option<String>,
}

impl ErrorResource {
    /// Makes an error without a page and a resource.
    pub fn new(id: ErrorId, message: impl Into<String>) -> Self {
        Self {
            id,
            message: message.into(),
            url: None,
            resource: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_stands_at_the_top_level() {
        let error = ErrorResource::new(ErrorId::NotFound, "Couldn't find that app.");
        assert_eq!(
            serde_json::to_string(&error).unwrap(),
            r#"{"id":"not_found","message":"Couldn't find that app.","url":null,"resource":null}"#
        );
        let later: ErrorResource =
            serde_json::from_str(r#"{"id": "two_factor", "message": "code"}"#).unwrap();
        assert_eq!(later.id, ErrorId::Unknown);
    }
}

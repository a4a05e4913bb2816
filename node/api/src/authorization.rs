//! OAuth authorizations: the tokens that an account has given out.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::lenient;
use crate::reference::IdRef;

/// A token with its description. `access_token.token` is whole in the response that creates it and abridged in others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationResource {
    /// The authorization's key.
    pub id: Uuid,
    /// The token.
    pub access_token: Option<AccessToken>,
    /// Always `null`: authorizations belong to the account itself.
    pub client: Option<IdRef>,
    /// When the token was made.
    pub created_at: Timestamp,
    /// The purpose of the token, for people.
    pub description: String,
    /// Always `null`: the node grants no codes.
    pub grant: Option<IdRef>,
    /// When the token was last used, to the hour; `null` if it was not. The API's own.
    #[serde(default)]
    pub last_used_at: Option<Timestamp>,
    /// Always `null`: tokens are not refreshed.
    pub refresh_token: Option<AccessToken>,
    /// The rights of the token: `global`.
    pub scope: Vec<String>,
    /// Always `null`: the node keeps no browser sessions.
    pub session: Option<IdRef>,
    /// When the authorization was last changed.
    pub updated_at: Timestamp,
    /// The account that the token speaks for.
    pub user: AuthorizationUser,
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessToken {
    /// The token's key.
    pub id: Uuid,
    /// The token, or its first and last characters with asterisks between them.
    pub token: String,
    /// Seconds until the token expires; `null` if it does not.
    pub expires_in: Option<u64>,
}

/// The account of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationUser {
    /// The account's key.
    pub id: Uuid,
    /// The account's e-mail address.
    pub email: String,
    /// The person's name.
    pub full_name: Option<String>,
}

/// A request for a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationCreate {
    /// The purpose of the token, for people.
    #[serde(default)]
    pub description: Option<String>,
    /// Seconds until the token expires; without it, it does not.
    #[serde(default, deserialize_with = "lenient::optional_number")]
    pub expires_in: Option<u64>,
    /// The rights of the token; `global` without it.
    #[serde(default)]
    pub scope: Option<Vec<String>>,
}

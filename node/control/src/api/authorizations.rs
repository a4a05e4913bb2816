//! Endpoints of authorizations: the tokens that the account has given out.

use corundum_api::ErrorId;
use corundum_api::authorization::{
    AccessToken, AuthorizationCreate, AuthorizationResource, AuthorizationUser,
};
use corundum_store::{AccountRecord, NewToken, Store, TokenRecord};
use http::{Method, Request};
use hyper::body::Incoming;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::auth;
use super::error::ApiError;
use super::resources::time;
use super::response::{ApiResult, created, ok, read};
use crate::secret;

/// Description of a token whose request has none.
const DEFAULT_DESCRIPTION: &str = "Long-lived user authorization";

/// Most characters of a description, which listings print.
const MAX_DESCRIPTION: usize = 200;

/// Serves `oauth/authorizations`.
pub(super) async fn serve(
    store: &dyn Store,
    method: &Method,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    let account = store.account()?;
    match (method, rest) {
        (&Method::GET, []) => {
            let tokens = store.tokens()?;
            let listed = tokens.iter().map(|token| resource(token, None, &account));
            ok(&listed.collect::<Result<Vec<_>, _>>()?)
        }
        (&Method::POST, []) => {
            let body: AuthorizationCreate = read(request).await?;
            created(&issue(store, body)?)
        }
        (&Method::GET, [id]) => {
            let tokens = store.tokens()?;
            let token = tokens.iter().find(|token| token.id.to_string() == *id);
            let token = token.ok_or_else(|| unknown(id))?;
            ok(&resource(token, None, &account)?)
        }
        (&Method::DELETE, [id]) => {
            let key: Uuid = id.parse().map_err(|_| unknown(id))?;
            let token = store.remove_token(key)?;
            ok(&resource(&token, None, &account)?)
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

fn unknown(id: &str) -> ApiError {
    let id: String = id.chars().take(80).collect();
    ApiError::not_found(
        "authorization",
        format!("Couldn't find that authorization: {id}"),
    )
}

/// Makes a token. Its resource is the only one that shows the token whole.
pub(super) fn issue(
    store: &dyn Store,
    request: AuthorizationCreate,
) -> Result<AuthorizationResource, ApiError> {
    let token = secret::random_hex()
        .map_err(|error| ApiError::new(ErrorId::Internal, format!("random numbers: {error}")))?;
    let description = request
        .description
        .unwrap_or_else(|| DEFAULT_DESCRIPTION.to_owned());
    let description: String = description.chars().take(MAX_DESCRIPTION).collect();
    let new = NewToken {
        expires_at: request.expires_in.map(expiry).transpose()?,
        ..auth::record_of(&token, &description)
    };
    let record = store.add_token(&new)?;
    resource(&record, Some(token), &store.account()?)
}

/// Returns the time in so many seconds, in the store's form.
fn expiry(seconds: u64) -> Result<String, ApiError> {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let expires_at = Timestamp::now().checked_add(SignedDuration::from_secs(seconds));
    let expires_at = expires_at.map_err(|_| ApiError::invalid("expires_in: too large"))?;
    Ok(expires_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Makes the resource of a token; `token` is the token itself where the response may show it.
fn resource(
    record: &TokenRecord,
    token: Option<String>,
    account: &AccountRecord,
) -> Result<AuthorizationResource, ApiError> {
    let created_at = time(&record.created_at)?;
    let expires_at = record.expires_at.as_deref().map(time).transpose()?;
    let left = |at: Timestamp| at.as_second() - Timestamp::now().as_second();
    Ok(AuthorizationResource {
        id: record.id,
        access_token: Some(AccessToken {
            id: record.id,
            token: token.unwrap_or_else(|| record.abridged.clone()),
            expires_in: expires_at.map(|at| u64::try_from(left(at)).unwrap_or(0)),
        }),
        client: None,
        created_at,
        description: record.description.clone(),
        grant: None,
        last_used_at: record.last_used_at.as_deref().map(time).transpose()?,
        refresh_token: None,
        scope: vec!["global".to_owned()],
        session: None,
        updated_at: created_at,
        user: AuthorizationUser {
            id: account.id,
            email: account.email.clone(),
            full_name: None,
        },
    })
}

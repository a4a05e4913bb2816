//! Access tokens: issued once, stored as hashes.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use corundum_store::{NewToken, TokenRecord, TokenStore};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

/// Time between two noted uses of a token.
const NOTED_USES: SignedDuration = SignedDuration::from_hours(1);

/// Returns the record of a new token, which keeps its hash.
pub(super) fn record_of(token: &str, description: &str) -> NewToken {
    NewToken {
        hash: hash(token),
        description: description.to_owned(),
        abridged: abridged(token),
        expires_at: None,
    }
}

fn hash(token: &str) -> String {
    format!("{:x}", Sha256::digest(token.as_bytes()))
}

/// Returns the first and the last characters of a token, so that its owner can tell it apart in a listing. The ten
/// asterisks between them are those of the Platform API, by which clients recognise their own token.
fn abridged(token: &str) -> String {
    let first: String = token.chars().take(4).collect();
    let last: String = token
        .chars()
        .skip(token.chars().count().saturating_sub(4))
        .collect();
    format!("{first}**********{last}")
}

/// Returns the valid token that a request carries, as a bearer token or as the password that git sends.
pub(super) fn valid_token(
    store: &(impl TokenStore + ?Sized),
    headers: &HeaderMap,
) -> Option<TokenRecord> {
    let found = store.valid_token(&hash(&token_of(headers)?));
    found.unwrap_or_else(|error| {
        tracing::error!(%error, "could not check a token");
        None
    })
}

/// Notes the use of a token, unless one of the last hour is noted: a write to the disk for each request would be slow.
pub(super) fn note_use(store: &(impl TokenStore + ?Sized), token: &TokenRecord) {
    let last = token.last_used_at.as_deref();
    let last = last.and_then(|at| at.parse::<Timestamp>().ok());
    let is_recent = |at: Timestamp| Timestamp::now().duration_since(at) < NOTED_USES;
    if last.is_some_and(is_recent) {
        return;
    }
    if let Err(error) = store.note_token_use(token.id) {
        tracing::warn!(%error, "could not note the use of a token");
    }
}

fn token_of(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    match value.split_once(' ')? {
        (kind, token) if kind.eq_ignore_ascii_case("bearer") => Some(token.to_owned()),
        (kind, encoded) if kind.eq_ignore_ascii_case("basic") => password(encoded),
        _ => None,
    }
}

/// Returns the password of credentials in the form of RFC 7617.
fn password(encoded: &str) -> Option<String> {
    let text = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
    text.split_once(':')
        .map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_of_basic_credentials_is_read() {
        // RFC 7617 section 2.
        assert_eq!(
            password("QWxhZGRpbjpvcGVuIHNlc2FtZQ==").as_deref(),
            Some("open sesame")
        );
        assert_eq!(password("!!"), None);
    }
}

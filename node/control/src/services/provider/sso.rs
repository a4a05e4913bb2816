//! Single sign-on: the form that a user's browser posts to a provider.

use jiff::Timestamp;
use sha1::{Digest, Sha1};

/// A form for a browser. Its token is valid for some minutes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SsoForm {
    /// The URL to post to.
    pub(crate) action: String,
    /// The fields.
    pub(crate) fields: Vec<(&'static str, String)>,
}

/// The resource that a user opens.
pub(super) struct SsoResource<'a> {
    pub(super) id: String,
    pub(super) app: &'a str,
    pub(super) email: &'a str,
}

/// Makes a form. The token is the SHA-1 of key, salt and time with colons between them, in hexadecimal, as the partner API
/// of version 3 wants it.
pub(super) fn form(url: &str, salt: &str, resource: SsoResource<'_>, now: Timestamp) -> SsoForm {
    let timestamp = now.as_second().to_string();
    let token = format!("{}:{salt}:{timestamp}", resource.id);
    let token = Sha1::digest(token.as_bytes());
    let token = token.iter().map(|byte| format!("{byte:02x}")).collect();
    SsoForm {
        action: url.to_owned(),
        fields: vec![
            ("resource_id", resource.id),
            ("resource_token", token),
            ("timestamp", timestamp),
            ("email", resource.email.to_owned()),
            ("app", resource.app.to_owned()),
            ("nav-data", String::new()),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_the_sha1_of_key_salt_and_time() {
        let resource = SsoResource {
            id: "123".to_owned(),
            app: "one",
            email: "owner@localhost",
        };
        let form = form(
            "https://p.example/sso",
            "salt",
            resource,
            Timestamp::from_second(1_700_000_000).unwrap(),
        );
        let field = |name: &str| &form.fields.iter().find(|(one, _)| *one == name).unwrap().1;
        // printf 123:salt:1700000000 | sha1sum
        assert_eq!(
            field("resource_token"),
            "763cea5732d70f07b3b910fc891ad28747e46095"
        );
    }
}

//! Redirects of gem servers: each leads to a server of the allowed list, or the request ends.

use ureq::http::Uri;

use super::server_url::GemServerUrl;

/// A redirect that a build does not follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RefusedRedirect {
    /// The response has no valid `Location`.
    Invalid,
    /// The location's scheme is http, and the request used https.
    Insecure,
    /// The operator does not allow the server, which the value names without path and query: those may hold keys.
    NotAllowed(String),
}

/// Returns the URL to which a response to `from` redirects.
///
/// # Errors
///
/// [`RefusedRedirect`].
pub(super) fn target(
    from: &Uri,
    location: &str,
    allowed: &[GemServerUrl],
) -> Result<Uri, RefusedRedirect> {
    let to = joined(from, location).ok_or(RefusedRedirect::Invalid)?;
    // The same parser makes the connection, so that both agree about the host.
    let server = format!(
        "{}://{}/",
        to.scheme_str().unwrap_or_default(),
        to.authority().map_or("", |authority| authority.as_str())
    );
    let server: GemServerUrl = server.parse().map_err(|_| RefusedRedirect::Invalid)?;
    if from.scheme_str() == Some("https") && !server.is_https() {
        return Err(RefusedRedirect::Insecure);
    }
    if !allowed.iter().any(|one| one.origin() == server.origin()) {
        return Err(RefusedRedirect::NotAllowed(server.origin().to_owned()));
    }
    Ok(to)
}

/// Resolves a reference against the URL of the request (RFC 3986 section 5.2), without removing dot segments.
fn joined(from: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next().filter(|text| !text.is_empty())?;
    let scheme = from.scheme_str()?;
    let authority = from.authority()?;
    let path = from.path();
    let text = if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{path}{location}")
    } else if location.contains("://") {
        location.to_owned()
    } else {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{scheme}://{authority}{directory}/{location}")
    };
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(from: &str, location: &str) -> Result<String, RefusedRedirect> {
        let allowed = [
            "https://gems.example/private/",
            "https://storage.example:8443/",
            "http://127.0.0.1:8808/",
        ];
        let allowed: Vec<GemServerUrl> = allowed.iter().map(|url| url.parse().unwrap()).collect();
        target(&from.parse().unwrap(), location, &allowed).map(|to| to.to_string())
    }

    #[test]
    fn redirect_within_the_allowed_list_is_followed() {
        let from = "https://gems.example/private/info/a";
        for (location, to) in [
            (
                "/stored/a?key=1#part",
                "https://gems.example/stored/a?key=1",
            ),
            ("b", "https://gems.example/private/info/b"),
            ("?x", "https://gems.example/private/info/a?x"),
            ("//storage.example:8443/a", "https://storage.example:8443/a"),
            ("HTTPS://GEMS.example:443/a", "https://GEMS.example:443/a"),
        ] {
            assert_eq!(followed(from, location).unwrap(), to, "{location}");
        }
    }

    #[test]
    fn redirect_out_of_the_allowed_list_is_refused() {
        let from = "http://127.0.0.1:8808/info/a";
        for location in [
            "http://127.0.0.1:28090/latest/meta-data/",
            "http://127.0.0.1/",
            "http://localhost:8808/",
            "http://[::1]:8808/",
            "http://[::ffff:127.0.0.1]:8808/",
            "http://0.0.0.0:8808/",
            "http://0:8808/",
            "http://2130706433:8808/",
            "http://0x7f000001:8808/",
            "http://127.1:8808/",
            "http://127.0.0.1.:8808/",
            "http://169.254.169.254/latest/meta-data/",
            "//169.254.169.254/",
            "http://storage.example:8443/",
            "https://gems.example.evil.example/",
            "https://127.0.0.1:8808/",
        ] {
            let refused = followed(from, location);
            assert!(
                matches!(refused, Err(RefusedRedirect::NotAllowed(_))),
                "{location}: {refused:?}"
            );
        }
    }

    #[test]
    fn invalid_and_insecure_locations_are_refused() {
        let from = "https://gems.example/private/info/a";
        for location in [
            "ftp://127.0.0.1/x",
            "file:///etc/passwd",
            "https://gems.example@127.0.0.1/",
            "https://u:p@gems.example/",
            "https://",
            "https://gems.example/a b",
            "https:///x",
            "",
        ] {
            let refused = followed(from, location);
            assert_eq!(refused, Err(RefusedRedirect::Invalid), "{location}");
        }
        for location in ["http://gems.example/a", "http://127.0.0.1:8808/a"] {
            let refused = followed(from, location);
            assert_eq!(refused, Err(RefusedRedirect::Insecure), "{location}");
        }
    }
}

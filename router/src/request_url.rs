//! The URL of a request in one form, before anything reads it: routing, the cache's keys and the head for the dyno.
//!
//! The spellings of one URL must not be told apart by one of these and not by another. A request that names its host in
//! capitals, in an absolute target or in `:authority` therefore continues as the request with a path and the normal
//! `Host`. A request in this form already, as nearly all of HTTP/1 are, stays as it is.
//!
//! Path and query stay byte for byte, except that a missing path becomes `/`: apps see how a path is percent-encoded
//! (`REQUEST_URI`) and may sign it, so `/%7Ea` and `/~a` are two URLs, with keys of their own.

use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, Uri, Version};

use crate::authority::Authority;
use crate::client_info::ClientInfo;
use crate::failure::Failure;
use crate::http1::is_target;

/// Brings the URL of a request into its normal form, and returns the host to route by.
///
/// The target's authority takes precedence over `Host` (RFC 9112 section 3.2.2, RFC 9113 section 8.3.1). The scheme is
/// the connection's, whatever the target says: a proxy in front that ends TLS may name either.
///
/// # Errors
///
/// H26 with 400 if the request does not name one host and one target.
pub(crate) fn normalise(parts: &mut Parts, client: &ClientInfo) -> Result<Arc<str>, Failure> {
    let default_port = if client.tls { 443 } else { 80 };
    let host = match parts.uri.authority() {
        None => host_of_header(parts, default_port)?,
        Some(_) => host_of_target(parts, default_port)?,
    };
    if parts.method != Method::CONNECT {
        normalise_target(parts)?;
    }
    Ok(host)
}

fn bad<T>(why: &'static str) -> Result<T, Failure> {
    Err(Failure::Request(StatusCode::BAD_REQUEST, why))
}

fn no_host<T>() -> Result<T, Failure> {
    bad("The request does not name one host.")
}

/// Returns the only `Host` line, `Ok(None)` if there is none.
fn host_header(parts: &Parts) -> Result<Option<&str>, Failure> {
    let mut lines = parts.headers.get_all(HOST).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(line), None) => match line.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => no_host(),
        },
        (Some(_), Some(_)) => no_host(),
    }
}

fn host_of_header(parts: &mut Parts, default_port: u16) -> Result<Arc<str>, Failure> {
    let authority = host_header(parts)?.and_then(|text| Authority::parse(text, default_port));
    let Some(authority) = authority else {
        return no_host();
    };
    let host = authority.host();
    if !authority.is_normal() {
        let normal = authority.normal(&host).into_owned();
        set_host(parts, &normal)?;
    }
    Ok(host)
}

fn host_of_target(parts: &mut Parts, default_port: u16) -> Result<Arc<str>, Failure> {
    let http2 = parts.version == Version::HTTP_2;
    let Some(text) = parts.uri.authority().map(http::uri::Authority::as_str) else {
        return no_host();
    };
    let text = match text.rsplit_once('@') {
        // In HTTP/2 user information is malformed (RFC 9113 section 8.3.1).
        Some(_) if http2 => return no_host(),
        Some((_, text)) => text,
        None => text,
    };
    let Some(authority) = Authority::parse(text, default_port) else {
        return no_host();
    };
    let host = authority.host();
    let normal = authority.normal(&host);
    match host_header(parts)? {
        // HTTP/1.1 requires the header whatever form the target has.
        None if parts.version == Version::HTTP_11 => return no_host(),
        None => {}
        Some(header) => {
            let header = Authority::parse(header, default_port);
            // An HTTP/2 request that names two hosts is malformed (RFC 9113 section 8.3.1).
            let agrees = header.is_some_and(|header| !http2 || header.to_string() == normal);
            if !agrees {
                return no_host();
            }
        }
    }
    set_host(parts, &normal)?;
    Ok(host)
}

fn set_host(parts: &mut Parts, normal: &str) -> Result<(), Failure> {
    match HeaderValue::from_str(normal) {
        Ok(value) => {
            parts.headers.insert(HOST, value);
            Ok(())
        }
        Err(_) => no_host(),
    }
}

/// Leaves path and query alone in the target, as in the form for origin servers (RFC 9112 section 3.2.1).
fn normalise_target(parts: &mut Parts) -> Result<(), Failure> {
    if parts.version == Version::HTTP_2 {
        check_http2(parts)?;
    }
    let Some(target) = parts.uri.path_and_query().map(PathAndQuery::as_str) else {
        return bad("The request does not name a target.");
    };
    match target.as_bytes() {
        [b'/', ..] if parts.uri.authority().is_none() => return Ok(()),
        // The asterisk stands for the whole server, which has options and nothing else (RFC 9112 section 3.2.4).
        b"*" if parts.method != Method::OPTIONS => {
            return bad("The target * is for OPTIONS alone.");
        }
        [b'/' | b'?', ..] | b"*" => {}
        _ => return bad("The request's target is neither a path nor a URL."),
    }
    let target = match target {
        // Also the target of a URL that ends after its host.
        "/" => PathAndQuery::from_static("/"),
        query if query.starts_with('?') => match format!("/{query}").parse() {
            Ok(target) => target,
            Err(_) => return bad("The request's target is neither a path nor a URL."),
        },
        _ => {
            let uri = std::mem::take(&mut parts.uri).into_parts();
            uri.path_and_query.unwrap_or(PathAndQuery::from_static("/"))
        }
    };
    // Moves the target, without a copy.
    parts.uri = Uri::from(target);
    Ok(())
}

/// Holds a target of HTTP/2 to the rules that the validator of HTTP/1 has applied already.
fn check_http2(parts: &Parts) -> Result<(), Failure> {
    let known =
        |scheme: &str| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    if !parts.uri.scheme_str().is_none_or(known) {
        return bad("The request's scheme is neither http nor https.");
    }
    let target = parts.uri.path_and_query().map(PathAndQuery::as_str);
    if !target.is_some_and(|target| is_target(target.as_bytes())) {
        return bad("The request's target holds a byte that no target has.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;
    use crate::proxy::cgi::scgi_head;

    fn client(tls: bool) -> ClientInfo {
        let (peer, local) = ("10.0.0.1:5", "10.0.0.2:8080");
        ClientInfo {
            tls,
            ..ClientInfo::new(peer.parse().unwrap(), local.parse().unwrap())
        }
    }

    /// Everything that is read of a URL: the host for routing, `Host` and target for the key, and the dyno's head.
    type Seen = (String, Option<String>, String, Vec<u8>);

    fn seen(
        (version, tls): (Version, bool),
        method: &Method,
        uri: &str,
        host: Option<&str>,
    ) -> Result<Seen, Failure> {
        let mut request = Request::builder().version(version).method(method).uri(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        let routed = normalise(&mut parts, &client(tls))?;
        // As for every request that is not for one client alone.
        parts.version = Version::HTTP_11;
        let head = scgi_head(&parts, &routed, &client(tls), None);
        let host = parts
            .headers
            .get(HOST)
            .map(|host| host.to_str().unwrap().to_owned());
        Ok((
            routed.to_string(),
            host,
            parts.uri.to_string(),
            head.as_bytes().to_vec(),
        ))
    }

    fn get(version: Version, uri: &str, host: Option<&str>) -> Result<Seen, Failure> {
        seen((version, false), &Method::GET, uri, host)
    }

    #[test]
    fn normal_request_stays_as_it_is() {
        let request = Request::get("/a?b").header(HOST, "a.example:8080");
        let mut parts = request.body(()).unwrap().into_parts().0;
        let before = (
            parts.uri.path().as_ptr(),
            parts.headers[HOST].as_bytes().as_ptr(),
        );
        assert_eq!(
            &*normalise(&mut parts, &client(false)).unwrap(),
            "a.example"
        );
        let after = (
            parts.uri.path().as_ptr(),
            parts.headers[HOST].as_bytes().as_ptr(),
        );
        assert_eq!(before, after, "nothing is copied");
    }

    #[test]
    fn target_without_a_path_gets_one() {
        for (uri, expected) in [
            ("http://a.example", "/"),
            ("http://a.example/", "/"),
            ("http://a.example?b=c", "/?b=c"),
            ("http://a.example/?b=c", "/?b=c"),
            ("http://a.example/b//../c", "/b//../c"),
        ] {
            let (_, _, target, _) = get(Version::HTTP_11, uri, Some("x")).unwrap();
            assert_eq!(target, expected, "{uri}");
        }
    }

    #[test]
    fn authority_of_the_target_replaces_the_host_header() {
        let (routed, host, _, _) = get(
            Version::HTTP_11,
            "http://u:p@A.example:81/",
            Some("b.example"),
        )
        .unwrap();
        assert_eq!(
            (routed.as_str(), host.as_deref()),
            ("a.example", Some("a.example:81"))
        );
    }

    #[test]
    fn requests_that_name_no_host_or_two_are_rejected() {
        for (version, uri, host) in [
            (Version::HTTP_11, "/", None),
            (Version::HTTP_10, "/", None),
            (Version::HTTP_11, "http://a.example/", None),
            (Version::HTTP_11, "http://a.example/", Some("b c")),
            (Version::HTTP_11, "http://a..example/", Some("a.example")),
            (Version::HTTP_2, "/", None),
            (Version::HTTP_2, "http://a.example/", Some("b.example")),
            (Version::HTTP_2, "http://a.example/", Some("a.example:81")),
            (Version::HTTP_2, "http://u@a.example/", None),
            (Version::HTTP_2, "ftp://a.example/", None),
            (Version::HTTP_2, "http://a.example/\u{e9}", None),
        ] {
            assert!(
                get(version, uri, host).is_err(),
                "{version:?} {uri} {host:?}"
            );
        }
        // They name the same host.
        assert!(get(Version::HTTP_2, "http://a.example/", Some("A.example.:80")).is_ok());
    }

    #[test]
    fn asterisk_is_for_options_alone() {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let any = |method| seen((version, false), method, "*", Some("a.example"));
            assert!(any(&Method::GET).is_err() && any(&Method::POST).is_err());
            assert_eq!(any(&Method::OPTIONS).unwrap().2, "*");
        }
    }

    /// A spelling of `host` with the scheme's default port.
    fn spelled(host: &'static str) -> impl Strategy<Value = (String, bool)> {
        let upper = proptest::collection::vec(any::<bool>(), host.len());
        let port = proptest::sample::select(&["", ":", ":default", ":000default"][..]);
        (upper, any::<bool>(), port, any::<bool>()).prop_map(move |(upper, dot, port, tls)| {
            let letters = host.chars().zip(upper);
            let mut text: String = letters
                .map(|(letter, upper)| {
                    if upper {
                        letter.to_ascii_uppercase()
                    } else {
                        letter
                    }
                })
                .collect();
            if dot {
                text.push('.');
            }
            text.push_str(&port.replace("default", if tls { "443" } else { "80" }));
            (text, tls)
        })
    }

    proptest! {
        #[test]
        fn all_spellings_of_a_url_have_one_key_and_one_head(
            (text, tls) in spelled("app-1.example"),
            path in "(/[a-zA-Z0-9%.]{0,6}){0,3}",
            query in "(\\?[a-z=&]{0,6})?",
            scheme in "(http|https|HTTP|Https)",
            user in "(u@|u:p@)?",
            other in "[a-z]{1,5}",
        ) {
            let target = if path.is_empty() { format!("/{query}") } else { format!("{path}{query}") };
            let normal = seen((Version::HTTP_11, tls), &Method::GET, &target, Some("app-1.example")).unwrap();
            let absolute = format!("{scheme}://{text}{path}{query}");
            let with_user = format!("{scheme}://{user}{text}{path}{query}");
            for (version, uri, host) in [
                (Version::HTTP_11, target.as_str(), Some(text.as_str())),
                (Version::HTTP_10, target.as_str(), Some(text.as_str())),
                (Version::HTTP_11, with_user.as_str(), Some(other.as_str())),
                (Version::HTTP_10, with_user.as_str(), None),
                (Version::HTTP_2, absolute.as_str(), None),
                (Version::HTTP_2, absolute.as_str(), Some(text.as_str())),
                (Version::HTTP_2, target.as_str(), Some(text.as_str())),
            ] {
                let got = seen((version, tls), &Method::GET, uri, host);
                prop_assert_eq!(got.as_ref(), Ok(&normal), "{:?} {} {:?}", version, uri, host);
            }
        }

        #[test]
        fn no_request_leaves_with_more_than_one_host_or_an_authority(
            uri in "(http://)?[a-zA-Z0-9.:@%\\[\\]-]{0,12}(/[!-~]{0,8})?",
            host in proptest::option::of("[ -~]{0,12}"),
            http2 in any::<bool>(),
        ) {
            let version = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
            let mut request = Request::builder().version(version).uri(&uri);
            if let Some(host) = &host {
                request = request.header(HOST, host);
            }
            let Ok(request) = request.body(()) else { return Ok(()) };
            let mut parts = request.into_parts().0;
            let Ok(routed) = normalise(&mut parts, &client(false)) else { return Ok(()) };
            let host = parts.headers[HOST].to_str().unwrap().to_owned();
            prop_assert_eq!(parts.headers.get_all(HOST).iter().count(), 1);
            prop_assert!(parts.uri.authority().is_none() && parts.uri.scheme().is_none());
            prop_assert!(host.starts_with(&*routed) && host == host.to_ascii_lowercase());
            let again = normalise(&mut parts, &client(false));
            prop_assert_eq!(again.unwrap(), routed, "the normal form is stable");
            prop_assert_eq!(parts.headers[HOST].to_str().unwrap(), host);
        }
    }
}

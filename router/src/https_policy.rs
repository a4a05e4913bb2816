//! An app's HTTPS policy: redirects from plain HTTP, and `Strict-Transport-Security` (RFC 6797).

use bytes::Bytes;
use http::header::{LOCATION, STRICT_TRANSPORT_SECURITY};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use crate::body::response_body::ResponseBody;
use crate::client_info::ClientInfo;

/// HTTPS settings of one app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpsPolicy {
    /// Port of the same host that serves `https`, to which plain requests are redirected. `None` serves them as they
    /// are.
    pub redirect: Option<u16>,
    /// Value of `Strict-Transport-Security` for responses over TLS in which the app sets none.
    pub hsts: Option<HeaderValue>,
}

impl HttpsPolicy {
    /// Returns the redirect of a plain request for `host` to `https`, or `None` if the request is served as it is. The
    /// status is 301, or 308 for methods that clients would change on a 301 (RFC 9110 section 15.4.2).
    pub(crate) fn redirect(
        &self,
        client: &ClientInfo,
        parts: &Parts,
        host: &str,
    ) -> Option<Response<ResponseBody>> {
        // A CONNECT names no resource to redirect to; validation rejects it later.
        let served = !client.tls && parts.method != Method::CONNECT;
        let port = self.redirect.filter(|_| served)?;
        let port = match port {
            443 => String::new(),
            other => format!(":{other}"),
        };
        let target = parts
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        // The target of `OPTIONS *` is not a path.
        let target = if target == "*" { "/" } else { target };
        let location = format!("https://{host}{port}{target}");
        let mut response = Response::new(Bytes::new().into());
        *response.status_mut() = match parts.method {
            Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
            _ => StatusCode::PERMANENT_REDIRECT,
        };
        let location = HeaderValue::from_str(&location).ok()?;
        response.headers_mut().insert(LOCATION, location);
        Some(response)
    }

    /// Adds `Strict-Transport-Security` to a response over TLS. Over plain HTTP the header is forbidden (RFC 6797
    /// section 7.2).
    pub(crate) fn add_hsts<B>(&self, client: &ClientInfo, response: &mut Response<B>) {
        let Some(hsts) = self.hsts.as_ref().filter(|_| client.tls) else {
            return;
        };
        let headers = response.headers_mut();
        headers
            .entry(STRICT_TRANSPORT_SECURITY)
            .or_insert_with(|| hsts.clone());
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn client(tls: bool) -> ClientInfo {
        let (peer, local) = ("10.0.0.1:5", "10.0.0.2:80");
        ClientInfo {
            tls,
            ..ClientInfo::new(peer.parse().unwrap(), local.parse().unwrap())
        }
    }

    fn redirected(port: u16, request: http::request::Builder) -> (u16, String) {
        let https = HttpsPolicy {
            redirect: Some(port),
            hsts: None,
        };
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let response = https.redirect(&client(false), &parts, "a.example").unwrap();
        let location = response.headers()[LOCATION].to_str().unwrap().to_owned();
        (response.status().as_u16(), location)
    }

    #[test]
    fn plain_request_is_redirected_to_the_same_url_over_https() {
        let get = redirected(443, Request::get("/a%20b?c=d"));
        assert_eq!(get, (301, "https://a.example/a%20b?c=d".to_owned()));
        let post = redirected(8443, Request::post("/a"));
        assert_eq!(post, (308, "https://a.example:8443/a".to_owned()));
        let options = redirected(443, Request::options("*"));
        assert_eq!(options, (308, "https://a.example/".to_owned()));
    }

    #[test]
    fn encrypted_request_and_connect_are_not_redirected() {
        let https = HttpsPolicy {
            redirect: Some(443),
            hsts: None,
        };
        let (parts, ()) = Request::get("/").body(()).unwrap().into_parts();
        assert!(https.redirect(&client(true), &parts, "a.example").is_none());
        let connect = Request::connect("a.example:80").body(()).unwrap();
        let (parts, ()) = connect.into_parts();
        let answer = https.redirect(&client(false), &parts, "a.example");
        assert!(answer.is_none());
    }

    #[test]
    fn hsts_is_added_over_tls_unless_the_app_sets_it() {
        let https = HttpsPolicy {
            redirect: None,
            hsts: Some(HeaderValue::from_static("max-age=1")),
        };
        let shown = |tls, own: Option<&'static str>| {
            let mut response = Response::new(());
            if let Some(own) = own {
                let own = HeaderValue::from_static(own);
                response
                    .headers_mut()
                    .insert(STRICT_TRANSPORT_SECURITY, own);
            }
            https.add_hsts(&client(tls), &mut response);
            let values = response.headers().get_all(STRICT_TRANSPORT_SECURITY);
            values
                .iter()
                .map(|v| v.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(true, None), ["max-age=1"]);
        assert_eq!(shown(true, Some("max-age=0")), ["max-age=0"]);
        assert!(shown(false, None).is_empty());
    }
}

//! From HTTP to the dyno ABI's request head, and from its response head to HTTP.

use corundum_abi::cgi::ResponseHead;
use corundum_abi::scgi::{RequestHead, RequestHeadWriter};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode, Version};

use crate::client_info::ClientInfo;
use crate::failure::Failure;
use crate::limits::Limits;

/// A request's head as SCGI has it, with Rack's names. `host` is the name without its port.
///
/// A header with an underscore is left out: in CGI's spelling it could not be told from one with a dash, and could
/// pass for one that the router sets. So is `Proxy`, which CGI programs take for a setting of their own.
pub(crate) fn scgi_head(
    parts: &Parts,
    host: &str,
    connection: &ClientInfo,
    length: Option<u64>,
) -> RequestHead {
    let mut head = RequestHeadWriter::new(Vec::with_capacity(1024), length);
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    let target = parts
        .uri
        .path_and_query()
        .map_or(path, |target| target.as_str());
    head.pair(b"REQUEST_METHOD", parts.method.as_str().as_bytes());
    head.pair(b"SCRIPT_NAME", b"");
    head.value(
        |key| key.extend_from_slice(b"PATH_INFO"),
        |value| decode(path, value),
    );
    head.pair(b"QUERY_STRING", query.as_bytes());
    head.pair(b"REQUEST_URI", target.as_bytes());
    head.pair(b"SERVER_NAME", host.as_bytes());
    head.pair(
        b"SERVER_PORT",
        connection.local.port().to_string().as_bytes(),
    );
    head.pair(b"SERVER_PROTOCOL", protocol(parts.version).as_bytes());
    head.pair(b"REMOTE_ADDR", connection.address.as_bytes());
    head.pair(b"rack.url_scheme", connection.scheme().as_bytes());
    // What names the host in the request's target prevails over the header (RFC 9112 section 3.2.2); h2 has only that.
    let authority = parts.uri.authority();
    if let Some(authority) = authority {
        head.value(
            |key| key.extend_from_slice(b"HTTP_HOST"),
            |value| {
                value.extend_from_slice(authority.host().as_bytes());
                if let Some(port) = authority.port() {
                    value.push(b':');
                    value.extend_from_slice(port.as_str().as_bytes());
                }
            },
        );
    }
    for name in parts.headers.keys() {
        let text = name.as_str();
        let said = name == CONTENT_LENGTH || (name == HOST && authority.is_some());
        if said || text == "proxy" || text.contains('_') {
            continue;
        }
        let key = |key: &mut Vec<u8>| {
            if name != CONTENT_TYPE {
                key.extend_from_slice(b"HTTP_");
            }
            let upper = text.bytes().map(|b| {
                if b == b'-' {
                    b'_'
                } else {
                    b.to_ascii_uppercase()
                }
            });
            key.extend(upper);
        };
        let separator: &[u8] = if name == COOKIE { b"; " } else { b", " };
        head.value(key, |value| {
            for (index, part) in parts.headers.get_all(name).iter().enumerate() {
                if index > 0 {
                    value.extend_from_slice(separator);
                }
                value.extend_from_slice(part.as_bytes());
            }
        });
    }
    head.finish()
}

/// The version as the log and the app see it.
fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

/// Decodes percent-encoding, as RFC 3875 section 4.1.5 has it for `PATH_INFO`. What is no encoding stays as it is.
fn decode(path: &str, out: &mut Vec<u8>) {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = path.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match (
            bytes[at],
            digit(bytes.get(at + 1)),
            digit(bytes.get(at + 2)),
        ) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
}

/// A dyno's response head in HTTP's types.
///
/// # Errors
///
/// H17 with what is wrong when HTTP cannot carry it, H25 when it is larger than what is passed on.
pub(crate) fn response(head: &ResponseHead, limits: &Limits) -> Result<Response<()>, Failure> {
    let malformed = |what: String| Failure::PoorlyFormatted(what);
    let status = StatusCode::from_u16(head.status)
        .map_err(|_| malformed(format!("status {}", head.status)))?;
    if status.is_informational() {
        return Err(malformed(format!("status {status}, which is no final one")));
    }
    let fields = head.headers.iter();
    if !limits.pass_head(fields.map(|(name, value)| name.len() + value.len())) {
        return Err(Failure::HEAD_TOO_LARGE);
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    for (name, value) in &head.headers {
        let shown = || malformed(format!("header {:?}", String::from_utf8_lossy(name)));
        let name = HeaderName::from_bytes(name).map_err(|_| shown())?;
        let value = HeaderValue::from_maybe_shared(value.clone()).map_err(|_| shown())?;
        response.headers_mut().append(name, value);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn fields(request: Request<()>) -> Vec<(String, String)> {
        let (peer, local) = ("10.0.0.1:5", "10.0.0.2:80");
        let connection = ClientInfo::new(peer.parse().unwrap(), local.parse().unwrap());
        let head = scgi_head(&request.into_parts().0, "a.example", &connection, Some(0));
        let text = String::from_utf8(head.as_bytes().to_vec()).unwrap();
        let fields: Vec<String> = text
            .split_once(':')
            .unwrap()
            .1
            .split('\0')
            .map(str::to_owned)
            .collect();
        fields
            .chunks_exact(2)
            .map(|pair| (pair[0].clone(), pair[1].clone()))
            .collect()
    }

    fn field(request: Request<()>, key: &str) -> Option<String> {
        fields(request)
            .into_iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    #[test]
    fn a_path_is_decoded_and_the_query_is_not() {
        let request = || Request::get("/a%20b/%2e%zz?c=%20d").body(()).unwrap();
        assert_eq!(field(request(), "PATH_INFO").unwrap(), "/a b/.%zz");
        assert_eq!(field(request(), "QUERY_STRING").unwrap(), "c=%20d");
        assert_eq!(
            field(request(), "REQUEST_URI").unwrap(),
            "/a%20b/%2e%zz?c=%20d"
        );
    }

    #[test]
    fn the_target_names_the_host_rather_than_the_header() {
        let request = |uri: &str| {
            Request::get(uri)
                .header("Host", "b.example")
                .body(())
                .unwrap()
        };
        let host = |uri| field(request(uri), "HTTP_HOST").unwrap();
        assert_eq!(host("http://u:p@a.example:81/"), "a.example:81");
        assert_eq!(host("/"), "b.example");
        let all = fields(request("http://a.example/"));
        assert_eq!(
            all.iter().filter(|(name, _)| name == "HTTP_HOST").count(),
            1
        );
    }

    #[test]
    fn a_path_cannot_bring_a_nul_into_the_head() {
        let request = Request::get("/a%00HTTP_X%00b").body(()).unwrap();
        assert!(
            fields(request)
                .iter()
                .all(|(name, _)| name != "HTTP_X" && name != "PATH_INFO")
        );
    }

    #[test]
    fn headers_that_could_pass_for_others_are_left_out() {
        let request = Request::get("/")
            .header("X_Forwarded_For", "1")
            .header("Proxy", "x");
        let fields = fields(
            request
                .header("X-Ok", "1")
                .header("X-Ok", "2")
                .body(())
                .unwrap(),
        );
        let http: Vec<_> = fields
            .iter()
            .filter(|(name, _)| name.starts_with("HTTP_"))
            .collect();
        assert_eq!(http, [&("HTTP_X_OK".to_owned(), "1, 2".to_owned())]);
    }

    #[test]
    fn what_http_cannot_carry_is_named() {
        let head = |name: &str, value: &str| ResponseHead {
            status: 200,
            headers: vec![(name.to_owned().into(), value.to_owned().into())],
        };
        let response = |head: &ResponseHead| response(head, &Limits::default());
        assert!(response(&head("a", "b")).is_ok());
        let named = Failure::PoorlyFormatted("header \"a\"".into());
        assert_eq!(response(&head("a", "b\rc")).unwrap_err(), named);
        let interim = ResponseHead {
            status: 100,
            headers: vec![],
        };
        assert!(response(&interim).is_err());
        assert_eq!(
            response(&head("a", &"b".repeat(70_000))).unwrap_err(),
            Failure::HEAD_TOO_LARGE
        );
    }
}

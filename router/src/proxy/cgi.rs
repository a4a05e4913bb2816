//! Conversion between HTTP and the heads of the dyno ABI: an SCGI request, a CGI response.

use corundum_abi::CONNECTION_FIELD;
use corundum_abi::cgi::ResponseHead;
use corundum_abi::scgi::{RequestHead, RequestHeadWriter};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode, Version};

use crate::client_info::ClientInfo;
use crate::failure::Failure;
use crate::limits::Limits;
use crate::websocket;

/// Headers by which a client could configure the app's own process, which no app sees. CGI programs read `HTTP_PROXY` as
/// a setting of theirs (CVE-2016-5385). With the others a server in front asks `Rack::Sendfile` to answer with the name of
/// a file, under a path of its choice, instead of the file; this router never does.
const NEVER_PASSED: [&str; 3] = ["proxy", "x-accel-mapping", "x-sendfile-type"];

/// Builds the SCGI head of a request whose URL is in its normal form, with Rack's names. `host` is the host name without
/// its port.
///
/// Headers with an underscore are left out: in CGI's spelling they look like headers with a dash, and could impersonate
/// headers that the router sets.
pub(crate) fn scgi_head(
    parts: &Parts,
    host: &str,
    client: &ClientInfo,
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
    head.pair(b"SERVER_PORT", client.local.port().to_string().as_bytes());
    head.pair(b"SERVER_PROTOCOL", protocol(parts.version).as_bytes());
    head.pair(b"REMOTE_ADDR", client.address.as_bytes());
    head.pair(b"rack.url_scheme", client.scheme().as_bytes());
    if websocket::is_requested(parts) {
        head.pair(CONNECTION_FIELD.as_bytes(), b"1");
    }
    for name in parts.headers.keys() {
        let text = name.as_str();
        // The length is written already.
        if name == CONTENT_LENGTH || text.contains('_') || NEVER_PASSED.contains(&text) {
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

/// Names the version for the app.
fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

/// Decodes percent-encoding for `PATH_INFO` (RFC 3875 section 4.1.5). Invalid encodings stay unchanged.
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

/// Converts a dyno's response head to HTTP's types.
///
/// # Errors
///
/// H17 with the reason if HTTP cannot represent the head, H25 if it exceeds `limits`.
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
        let client = ClientInfo::new(peer.parse().unwrap(), local.parse().unwrap());
        let head = scgi_head(&request.into_parts().0, "a.example", &client, Some(0));
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
    fn path_is_decoded_and_query_is_not() {
        let request = || Request::get("/a%20b/%2e%zz?c=%20d").body(()).unwrap();
        assert_eq!(field(request(), "PATH_INFO").unwrap(), "/a b/.%zz");
        assert_eq!(field(request(), "QUERY_STRING").unwrap(), "c=%20d");
        assert_eq!(
            field(request(), "REQUEST_URI").unwrap(),
            "/a%20b/%2e%zz?c=%20d"
        );
    }

    #[test]
    fn encoded_nul_in_a_path_adds_no_field() {
        let request = Request::get("/a%00HTTP_X%00b").body(()).unwrap();
        assert!(
            fields(request)
                .iter()
                .all(|(name, _)| name != "HTTP_X" && name != "PATH_INFO")
        );
    }

    #[test]
    fn headers_that_no_app_may_see_are_left_out() {
        let request = Request::get("/")
            .header("X_Forwarded_For", "1")
            .header("Proxy", "x")
            .header("X-Sendfile-Type", "X-Accel-Redirect")
            .header("X-Accel-Mapping", "/=/etc/");
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
    fn head_that_http_cannot_represent_is_h17() {
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

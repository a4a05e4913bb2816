//! Validation of a request's head in HTTP/2, by the limits that the validator of HTTP/1 applies to the same request.
//!
//! A head is measured as HTTP/1 would carry it, so that a request passes or fails whatever version its client speaks.

use http::header::COOKIE;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::failure::Failure;
use crate::http1::{MAX_HEAD, MAX_HEADER, MAX_TARGET};

/// Bytes of a request line beside the method and the target.
const REQUEST_LINE: usize = "  HTTP/1.1".len();

/// Rejects a head that exceeds a limit. It may have `fields` header fields.
///
/// # Errors
///
/// H26 with 414 or 431; with 400 for a value with whitespace around it (RFC 9113 section 8.2.1).
pub(crate) fn validate(parts: &Parts, fields: usize) -> Result<(), Failure> {
    let target = parts.uri.path_and_query();
    let target = target.map_or(0, |target| target.as_str().len());
    let line = parts.method.as_str().len() + target + REQUEST_LINE;
    if line > MAX_TARGET {
        return Err(Failure::Request(
            StatusCode::URI_TOO_LONG,
            "The request line is longer than 8192 bytes.",
        ));
    }
    let (mut number, mut bytes, mut cookies) = (0, line + 4, 0);
    for (name, value) in &parts.headers {
        if is_padded(value) {
            return Err(Failure::Request(
                StatusCode::BAD_REQUEST,
                "A header's value begins or ends with whitespace.",
            ));
        }
        if *name == COOKIE {
            // A client may send its cookies in pieces (RFC 9113 section 8.2.3), which HTTP/1 joins to one line.
            cookies += value.len() + "; ".len();
            continue;
        }
        number += 1;
        bytes += field(name, value.len())?;
    }
    if cookies > 0 {
        number += 1;
        bytes += field(&COOKIE, cookies - "; ".len())?;
    }
    if number > fields {
        return too_large("The request has more headers than are taken.");
    }
    if bytes > MAX_HEAD {
        return too_large("The request's headers are more than 64 KiB.");
    }
    Ok(())
}

/// Returns the bytes of a header line with its end.
fn field(name: &HeaderName, value: usize) -> Result<usize, Failure> {
    let line = name.as_str().len() + ": ".len() + value;
    if line > MAX_HEADER {
        return too_large("A header line is longer than 8192 bytes.");
    }
    Ok(line + "\r\n".len())
}

fn is_padded(value: &HeaderValue) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    blank(value.as_bytes().first()) || blank(value.as_bytes().last())
}

fn too_large<T>(why: &'static str) -> Result<T, Failure> {
    Err(Failure::Request(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        why,
    ))
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;
    use crate::http1::framing::MessageFraming;

    const FIELDS: usize = 100;

    /// Result of the head in HTTP/1 and in HTTP/2.
    fn both(path: &str, lines: &[(&str, &str)]) -> (Option<StatusCode>, Option<StatusCode>) {
        let status = |failure: Failure| failure.status();
        let mut head = format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n");
        let mut request = Request::get(path).header("host", "a.example");
        for (name, value) in lines {
            head.push_str(&format!("{name}: {value}\r\n"));
            request = request.header(*name, *value);
        }
        head.push_str("\r\n");
        let http1 = MessageFraming::new(FIELDS).advance(head.as_bytes()).err();
        let parts = request.body(()).unwrap().into_parts().0;
        let http2 = validate(&parts, FIELDS).err();
        (
            http1.map(|rejected| status(rejected.failure)),
            http2.map(status),
        )
    }

    #[test]
    fn limits_are_those_of_http1_to_the_byte() {
        let path = |length: usize| format!("/{}", "a".repeat(length - 1));
        let value = |length| "v".repeat(length);
        for (length, expected) in [(8179, None), (8180, Some(StatusCode::URI_TOO_LONG))] {
            assert_eq!(both(&path(length), &[]), (expected, expected), "{length}");
        }
        let too_large = Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        for (length, expected) in [(8187, None), (8188, too_large)] {
            let got = both("/", &[("x-y", &value(length))]);
            assert_eq!(got, (expected, expected), "{length}");
        }
        for (number, expected) in [(99, None), (100, too_large)] {
            let got = both("/", &vec![("x", "y"); number]);
            assert_eq!(got, (expected, expected), "{number}");
        }
    }

    #[test]
    fn cookies_in_pieces_count_as_one_line() {
        let request = |number: usize, length: usize| {
            let value = HeaderValue::from_str(&"c".repeat(length)).unwrap();
            let mut request = Request::get("/").body(()).unwrap().into_parts().0;
            for _ in 0..number {
                request.headers.append(COOKIE, value.clone());
            }
            validate(&request, 1)
        };
        assert!(request(300, 20).is_ok());
        assert!(request(400, 20).is_err());
    }

    #[test]
    fn padded_value_is_malformed() {
        for value in [" a", "a ", "\ta", " "] {
            let request = Request::get("/").header("x", HeaderValue::from_str(value).unwrap());
            let parts = request.body(()).unwrap().into_parts().0;
            let status = validate(&parts, FIELDS).unwrap_err().status();
            assert_eq!(status, StatusCode::BAD_REQUEST, "{value:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn a_head_passes_in_both_versions_or_in_neither(
            path in 1..8300usize,
            lines in proptest::collection::vec((1..20usize, 0..9000usize), 0..12),
            more in 0..110usize,
        ) {
            let path = format!("/{}", "a".repeat(path - 1));
            let lines: Vec<(String, String)> = lines
                .into_iter()
                .map(|(name, value)| ("n".repeat(name), "v".repeat(value)))
                .chain((0..more).map(|_| ("x".to_owned(), "y".to_owned())))
                .collect();
            let lines: Vec<(&str, &str)> = lines.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let (http1, http2) = both(&path, &lines);
            prop_assert_eq!(http1.is_some(), http2.is_some(), "{:?} {:?}", http1, http2);
        }
    }
}

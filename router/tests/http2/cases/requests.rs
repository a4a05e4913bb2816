//! Requests: RFC 9113 sections 8.1 to 8.3 and 8.5.

use crate::case::{Http2Case, PROTOCOL, answers, resets, serves};
use crate::frame::*;

/// Encodes a GET with these fields after its pseudo-headers.
fn with(fields: &[(&str, &str)]) -> Vec<u8> {
    headers(1, END_STREAM, &[&pseudo("GET", "/"), fields].concat())
}

/// Encodes a GET with only these fields.
fn only(fields: &[(&str, &str)]) -> Vec<u8> {
    headers(1, END_STREAM, fields)
}

pub(crate) fn cases() -> Vec<Http2Case> {
    let bad = |name, section, send: &[u8]| resets(name, section, &[send], &[PROTOCOL]);
    let (method, scheme, path, authority) = (
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "app.example"),
    );
    let length = |length: &str, pieces: &[&[u8]]| {
        let mut fields = pseudo("POST", "/echo");
        fields.push(("content-length", length));
        let mut send = headers(1, 0, &fields);
        for (index, piece) in pieces.iter().enumerate() {
            let last = u8::from(index + 1 == pieces.len());
            send.extend(data(1, last, piece));
        }
        send
    };
    let long = "a".repeat(9000);
    vec![
        serves("TE of trailers", "8.2.2", &[&with(&[("te", "trailers")])]),
        serves(
            "Host in the place of :authority",
            "8.3.1",
            &[&only(&[method, scheme, path, ("host", "app.example")])],
        ),
        serves(
            "cookie in pieces",
            "8.2.3",
            &[&with(&[("cookie", "a=b"), ("cookie", "c=d")])],
        ),
        serves(
            "length that is right",
            "8.1.1",
            &[&length("5", &[b"hello"])],
        ),
        serves(
            "length that is right in pieces",
            "8.1.1",
            &[&length("5", &[b"he", b"llo"])],
        ),
        serves(
            "OPTIONS of everything",
            "8.3.1",
            &[&headers(1, END_STREAM, &pseudo("OPTIONS", "*"))],
        ),
        bad("upper case", "8.2.1", &with(&[("X-Test", "1")])),
        bad("name with a blank", "8.2.1", &with(&[("x test", "1")])),
        bad("name with a colon", "8.2.1", &with(&[("x:test", "1")])),
        bad("empty name", "8.2.1", &with(&[("", "1")])),
        bad("name with a NUL", "8.2.1", &with(&[("x\0", "1")])),
        bad("name with DEL", "8.2.1", &with(&[("x\u{7f}", "1")])),
        bad("value with NUL", "8.2.1", &with(&[("x", "a\0b")])),
        bad("value with CR", "8.2.1", &with(&[("x", "a\rb")])),
        bad("value with LF", "8.2.1", &with(&[("x", "a\nb")])),
        bad(
            "value with a request inside",
            "8.2.1",
            &with(&[(
                "x",
                "a\r\n\r\nGET /inner HTTP/1.1\r\nHost: app.example\r\n\r\n",
            )]),
        ),
        bad(
            "path with a request inside",
            "8.2.1",
            &only(&[
                method,
                scheme,
                (":path", "/ HTTP/1.1\r\nHost: other.example\r\n\r\n"),
                authority,
            ]),
        ),
        bad(
            "method with a request inside",
            "8.3.1",
            &only(&[
                (":method", "GET / HTTP/1.1\r\nX: "),
                scheme,
                path,
                authority,
            ]),
        ),
        bad(
            "Connection",
            "8.2.2",
            &with(&[("connection", "keep-alive")]),
        ),
        bad("Keep-Alive", "8.2.2", &with(&[("keep-alive", "1")])),
        bad(
            "Proxy-Connection",
            "8.2.2",
            &with(&[("proxy-connection", "keep-alive")]),
        ),
        bad(
            "Transfer-Encoding",
            "8.2.2",
            &with(&[("transfer-encoding", "chunked")]),
        ),
        bad("Upgrade", "8.2.2", &with(&[("upgrade", "h2c")])),
        bad("TE of anything else", "8.2.2", &with(&[("te", "gzip")])),
        bad("unknown pseudo-header", "8.3", &with(&[(":test", "1")])),
        bad(
            "pseudo-header of responses",
            "8.3",
            &only(&[method, scheme, path, authority, (":status", "200")]),
        ),
        bad(
            "pseudo-header after others",
            "8.3",
            &only(&[method, scheme, authority, ("x", "1"), path]),
        ),
        // RFC 9113 requires refusing them. The h2 library drops them instead, and the router drops all trailers.
        serves(
            "pseudo-header in trailers is dropped",
            "8.1",
            &[
                &post(1),
                &data(1, 0, b"x"),
                &headers(1, END_STREAM, &[(":method", "DELETE")]),
            ],
        ),
        bad("no method", "8.3.1", &only(&[scheme, path, authority])),
        bad("no scheme", "8.3.1", &only(&[method, path, authority])),
        bad("no path", "8.3.1", &only(&[method, scheme, authority])),
        bad(
            "asterisk with GET",
            "9112 §3.2.4",
            &headers(1, END_STREAM, &pseudo("GET", "*")),
        ),
        bad(
            "path outside of ASCII",
            "8.3.1",
            &only(&[method, scheme, (":path", "/\u{e9}"), authority]),
        ),
        bad(
            "scheme that is not HTTP's",
            "8.3.1",
            &only(&[method, (":scheme", "ftp"), path, authority]),
        ),
        bad(
            "value with a blank in front",
            "8.2.1",
            &with(&[("x", " a")]),
        ),
        bad(
            "value with a tab at its end",
            "8.2.1",
            &with(&[("x", "a\t")]),
        ),
        answers(
            "too many headers",
            "6585 §5",
            &[&with(&[("x", "1"); 101])],
            431,
        ),
        bad(
            "empty path",
            "8.3.1",
            &only(&[method, scheme, (":path", ""), authority]),
        ),
        bad(
            "relative path",
            "8.3.1",
            &only(&[method, scheme, (":path", "a"), authority]),
        ),
        bad(
            "two methods",
            "8.3.1",
            &only(&[method, method, scheme, path, authority]),
        ),
        bad(
            "two schemes",
            "8.3.1",
            &only(&[method, scheme, scheme, path, authority]),
        ),
        bad(
            "two paths",
            "8.3.1",
            &only(&[method, scheme, path, path, authority]),
        ),
        bad(
            "two authorities",
            "8.3.1",
            &only(&[
                method,
                scheme,
                path,
                authority,
                (":authority", "other.example"),
            ]),
        ),
        bad(
            "neither authority nor Host",
            "8.3.1",
            &only(&[method, scheme, path]),
        ),
        bad(
            "authority with a user",
            "8.3.1",
            &only(&[method, scheme, path, (":authority", "user@app.example")]),
        ),
        bad(
            "authority with a path",
            "8.3.1",
            &only(&[method, scheme, path, (":authority", "app.example/a")]),
        ),
        bad(
            "Host that is not the authority",
            "8.3.1",
            &with(&[("host", "other.example")]),
        ),
        bad(
            "two Hosts",
            "8.3.1",
            &with(&[("host", "app.example"), ("host", "app.example")]),
        ),
        bad(
            "length smaller than the body",
            "8.1.1",
            &length("3", &[b"hello"]),
        ),
        bad(
            "length larger than the body",
            "8.1.1",
            &length("9", &[b"hello"]),
        ),
        bad(
            "length that is wrong in pieces",
            "8.1.1",
            &length("6", &[b"he", b"llo"]),
        ),
        bad(
            "length of a request without a body",
            "8.1.1",
            &headers(
                1,
                END_STREAM,
                &[&pseudo("POST", "/echo")[..], &[("content-length", "5")]].concat(),
            ),
        ),
        bad(
            "length that is not a number",
            "8.1.1",
            &length("+5", &[b"hello"]),
        ),
        bad(
            "two lengths",
            "8.1.1",
            &headers(
                1,
                END_STREAM,
                &[
                    &pseudo("POST", "/echo")[..],
                    &[("content-length", "0"), ("content-length", "5")],
                ]
                .concat(),
            ),
        ),
        answers(
            "path too long",
            "9110 §15.5.15",
            &[&only(&[
                method,
                scheme,
                (":path", &format!("/{long}")),
                authority,
            ])],
            414,
        ),
        answers("header too long", "6585 §5", &[&with(&[("x", &long)])], 431),
        answers(
            "unknown expectation",
            "9110 §10.1.1",
            &[&with(&[("expect", "magic")])],
            417,
        ),
        answers(
            "CONNECT",
            "8.5",
            &[&headers(
                1,
                END_STREAM,
                &[(":method", "CONNECT"), (":authority", "app.example:443")],
            )],
            405,
        ),
        answers(
            "host without an app",
            "9110 §15.5.5",
            &[&only(&[
                method,
                scheme,
                path,
                (":authority", "nobody.test"),
            ])],
            404,
        ),
        answers(
            "body larger than any quota",
            "9110 §15.5.14",
            &[&headers(
                1,
                0,
                &[
                    &pseudo("POST", "/echo")[..],
                    &[("content-length", "9999999999")],
                ]
                .concat(),
            )],
            413,
        ),
        bad(
            "CONNECT with a path",
            "8.5",
            &only(&[(":method", "CONNECT"), scheme, path, authority]),
        ),
        answers(
            "extended CONNECT of an unknown protocol",
            "8441 §4",
            &[&only(&[
                (":method", "CONNECT"),
                (":protocol", "connect-udp"),
                scheme,
                path,
                authority,
            ])],
            405,
        ),
    ]
}

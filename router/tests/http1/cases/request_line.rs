//! Request lines: RFC 9112 sections 2.2, 2.3 and 3.

use crate::case::{Http1Case, line, refuse, serve};

pub(crate) fn cases() -> Vec<Http1Case> {
    let long_method = line(&format!("{} / HTTP/1.1", "M".repeat(9000)));
    let long_target = line(&format!("GET /{} HTTP/1.1", "a".repeat(8200)));
    let fitting_target = "a".repeat(8000);
    vec![
        serve("plain GET", "3", line("GET / HTTP/1.1"), "GET /||"),
        serve(
            "one CRLF before the request",
            "2.2",
            format!("\r\n{}", line("GET / HTTP/1.1")),
            "GET /||",
        ),
        refuse(
            "many blank lines before the request",
            "2.2",
            format!("{}{}", "\r\n".repeat(50), line("GET / HTTP/1.1")),
            &[400],
        ),
        refuse(
            "bare LF before the request",
            "2.2",
            format!("\n{}", line("GET / HTTP/1.1")),
            &[400],
        ),
        refuse(
            "whitespace before the method",
            "3",
            line(" GET / HTTP/1.1"),
            &[400],
        ),
        refuse(
            "tab before the method",
            "3",
            line("\tGET / HTTP/1.1"),
            &[400],
        ),
        refuse(
            "two spaces after the method",
            "3",
            line("GET  / HTTP/1.1"),
            &[400],
        ),
        refuse(
            "two spaces after the target",
            "3",
            line("GET /  HTTP/1.1"),
            &[400],
        ),
        refuse("tab after the method", "3", line("GET\t/ HTTP/1.1"), &[400]),
        refuse("tab after the target", "3", line("GET /\tHTTP/1.1"), &[400]),
        refuse(
            "vertical tab after the method",
            "3",
            line("GET\u{b}/ HTTP/1.1"),
            &[400],
        ),
        refuse(
            "form feed after the target",
            "3",
            line("GET /\u{c}HTTP/1.1"),
            &[400],
        ),
        refuse(
            "bare CR after the target",
            "2.2",
            line("GET /\rHTTP/1.1"),
            &[400],
        ),
        refuse(
            "space after the version",
            "3",
            line("GET / HTTP/1.1 "),
            &[400],
        ),
        refuse(
            "word after the version",
            "3",
            line("GET / HTTP/1.1 x"),
            &[400],
        ),
        refuse(
            "request line ends in bare LF",
            "2.2",
            "GET / HTTP/1.1\nHost: app.example\r\n\r\n",
            &[400],
        ),
        refuse(
            "request line ends in CR CR LF",
            "2.2",
            "GET / HTTP/1.1\r\r\nHost: app.example\r\n\r\n",
            &[400],
        ),
        refuse(
            "request line ends in bare CR",
            "2.2",
            "GET / HTTP/1.1\rHost: app.example\r\n\r\n",
            &[400],
        ),
        refuse("no method", "3", line("/ HTTP/1.1"), &[400]),
        refuse(
            "method with a colon",
            "3.1",
            line("GE:T / HTTP/1.1"),
            &[400],
        ),
        refuse(
            "method with parentheses",
            "3.1",
            line("GET() / HTTP/1.1"),
            &[400],
        ),
        refuse(
            "method with a byte outside of ASCII",
            "3.1",
            b"G\xcbT / HTTP/1.1\r\nHost: app.example\r\n\r\n",
            &[400],
        ),
        refuse("method with NUL", "3.1", line("GE\0T / HTTP/1.1"), &[400]),
        refuse(
            "method of nine thousand letters",
            "3.1",
            long_method,
            &[400, 414, 501],
        ),
        serve(
            "method that is not registered",
            "3.1",
            line("BREW /pot HTTP/1.1"),
            "BREW /pot||",
        ),
        serve(
            "method is case-sensitive",
            "9110 §9.1",
            line("get / HTTP/1.1"),
            "get /||",
        ),
        serve(
            "method of all token characters",
            "9110 §5.6.2",
            line("M-SEARCH / HTTP/1.1"),
            "M-SEARCH /||",
        ),
        refuse("no version", "3", line("GET /"), &[400]),
        refuse("HTTP/0.9", "3", "GET /\r\n\r\n", &[400]),
        refuse("method alone", "3", "GET\r\n\r\n", &[400]),
        refuse(
            "version in lower case",
            "2.3",
            line("GET / http/1.1"),
            &[400],
        ),
        refuse(
            "version in mixed case",
            "2.3",
            line("GET / HtTP/1.1"),
            &[400],
        ),
        refuse("version without minor", "2.3", line("GET / HTTP/1"), &[400]),
        refuse(
            "version with two digits of minor",
            "2.3",
            line("GET / HTTP/1.10"),
            &[400, 505],
        ),
        refuse(
            "version with a leading zero",
            "2.3",
            line("GET / HTTP/01.1"),
            &[400, 505],
        ),
        refuse(
            "version with a sign",
            "2.3",
            line("GET / HTTP/+1.1"),
            &[400],
        ),
        refuse(
            "version with a space",
            "2.3",
            line("GET / HTTP/1. 1"),
            &[400],
        ),
        refuse(
            "version with a comma",
            "2.3",
            line("GET / HTTP/1,1"),
            &[400],
        ),
        refuse(
            "version without slash",
            "2.3",
            line("GET / HTTP1.1"),
            &[400],
        ),
        refuse(
            "another protocol",
            "2.3",
            line("GET / RTSP/1.0"),
            &[400, 505],
        ),
        refuse("HTTP/1.2", "9110 §6.2", line("GET / HTTP/1.2"), &[505]),
        refuse(
            "HTTP/2.0 without its preface",
            "9110 §15.6.6",
            line("GET / HTTP/2.0"),
            &[400, 505],
        ),
        refuse("HTTP/3.0", "9110 §15.6.6", line("GET / HTTP/3.0"), &[505]),
        refuse(
            "HTTP/0.9 with a version",
            "9110 §15.6.6",
            line("GET / HTTP/0.9"),
            &[400, 505],
        ),
        refuse(
            "preface of HTTP/2 with a mistake",
            "9113 §3.4",
            "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
            &[400, 405, 505],
        ),
        refuse("target too long", "3", long_target, &[414]),
        serve(
            "target of eight thousand bytes",
            "3",
            line(&format!("GET /{fitting_target} HTTP/1.1")),
            &format!("GET /{fitting_target}||"),
        ),
        refuse(
            "TLS hello on a plain port",
            "3",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            &[400],
        ),
        refuse(
            "nonsense without a line end",
            "3",
            "\u{1}\u{2}\u{3}",
            &[400],
        ),
        refuse("request ends in its line", "8", "GET / HT", &[400]).half_closes(),
        refuse(
            "request ends in its headers",
            "8",
            "GET / HTTP/1.1\r\nHost: app.exa",
            &[400],
        )
        .half_closes(),
        refuse(
            "response sent as a request",
            "3",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            &[400],
        ),
    ]
}

//! Request targets: RFC 9112 section 3.2.

use crate::case::{Http1Case, line, refuse, serve};

pub(crate) fn cases() -> Vec<Http1Case> {
    vec![
        serve(
            "path and query",
            "3.2.1",
            line("GET /a/b?c=d&e HTTP/1.1"),
            "GET /a/b?c=d&e||",
        ),
        serve(
            "empty query",
            "3.2.1",
            line("GET /a? HTTP/1.1"),
            "GET /a?||",
        ),
        serve(
            "two slashes at the front",
            "3.2.1",
            line("GET //evil.example/x HTTP/1.1"),
            "GET //evil.example/x||",
        ),
        serve(
            "dots stay as they are",
            "3.2.1",
            line("GET /a/../b/./c HTTP/1.1"),
            "GET /a/../b/./c||",
        ),
        serve(
            "percent-encoded slash stays as it is",
            "3.2.1",
            line("GET /a%2Fb HTTP/1.1"),
            "GET /a%2Fb||",
        ),
        refuse(
            "percent-encoded NUL",
            "3.2.1",
            line("GET /a%00b HTTP/1.1"),
            &[400, 404],
        )
        .keeps(),
        refuse("fragment", "3.2", line("GET /a#b HTTP/1.1"), &[400]),
        refuse("NUL", "3.2", line("GET /a\0b HTTP/1.1"), &[400]),
        refuse(
            "control character",
            "3.2",
            line("GET /a\u{1}b HTTP/1.1"),
            &[400],
        ),
        refuse("DEL", "3.2", line("GET /a\u{7f}b HTTP/1.1"), &[400]),
        refuse(
            "byte outside of ASCII",
            "3.2",
            b"GET /\xe9 HTTP/1.1\r\nHost: app.example\r\n\r\n",
            &[400],
        ),
        refuse("space", "3.2", line("GET /a b HTTP/1.1"), &[400]),
        refuse("relative path", "3.2", line("GET a/b HTTP/1.1"), &[400]),
        refuse(
            "backslash at the front",
            "3.2",
            line("GET \\a HTTP/1.1"),
            &[400],
        ),
        refuse("query alone", "3.2", line("GET ?a HTTP/1.1"), &[400]),
        refuse(
            "host alone",
            "3.2.3",
            line("GET app.example HTTP/1.1"),
            &[400],
        ),
        refuse(
            "host and port alone",
            "3.2.3",
            line("GET app.example:80 HTTP/1.1"),
            &[400],
        ),
        serve(
            "absolute form",
            "3.2.2",
            line("GET http://app.example/a HTTP/1.1"),
            "GET /a||",
        ),
        serve(
            "absolute form without a path",
            "3.2.2",
            line("GET http://app.example HTTP/1.1"),
            "GET /||",
        ),
        serve(
            "absolute form with a query and no path",
            "3.2.2",
            line("GET http://app.example?a=b HTTP/1.1"),
            "GET /?a=b||",
        ),
        serve(
            "absolute form of OPTIONS without a path",
            "3.2.2",
            line("OPTIONS http://app.example HTTP/1.1"),
            "OPTIONS /||",
        ),
        serve(
            "absolute form with its host in capitals",
            "3.2.2",
            line("GET http://APP.example.:80/a HTTP/1.1"),
            "GET /a||",
        ),
        serve(
            "absolute form with its scheme in capitals",
            "3.2.2",
            line("GET HTTP://app.example/a HTTP/1.1"),
            "GET /a||",
        ),
        serve(
            "absolute form with a port",
            "3.2.2",
            line("GET http://app.example:8080/a HTTP/1.1"),
            "GET /a||",
        ),
        serve(
            "absolute form takes precedence over Host",
            "3.2.2",
            "GET http://app.example/a HTTP/1.1\r\nHost: other.example\r\n\r\n",
            "GET /a||",
        ),
        refuse(
            "absolute form without Host",
            "3.2",
            "GET http://app.example/a HTTP/1.1\r\n\r\n",
            &[400],
        )
        .keeps(),
        refuse(
            "absolute form with two Hosts",
            "3.2",
            "GET http://app.example/a HTTP/1.1\r\nHost: app.example\r\nHost: app.example\r\n\r\n",
            &[400],
        )
        .keeps(),
        refuse(
            "absolute form without a host",
            "3.2.2",
            line("GET http:///a HTTP/1.1"),
            &[400],
        ),
        refuse(
            "absolute form of another scheme",
            "3.2.2",
            line("GET gopher://app.example/a HTTP/1.1"),
            &[400],
        ),
        refuse(
            "absolute form with one slash",
            "3.2.2",
            line("GET http:/app.example/a HTTP/1.1"),
            &[400],
        ),
        refuse(
            "absolute form with a space in its host",
            "3.2.2",
            line("GET http://app. example/a HTTP/1.1"),
            &[400],
        ),
        refuse(
            "target of a script URL",
            "3.2.2",
            line("GET javascript:alert(1) HTTP/1.1"),
            &[400],
        ),
        refuse(
            "CONNECT",
            "3.2.3",
            line("CONNECT app.example:443 HTTP/1.1"),
            &[405],
        )
        .keeps(),
        refuse(
            "CONNECT with a path",
            "3.2.3",
            line("CONNECT /a HTTP/1.1"),
            &[400, 405],
        ),
        serve(
            "asterisk with OPTIONS",
            "3.2.4",
            line("OPTIONS * HTTP/1.1"),
            "OPTIONS *||",
        ),
        refuse("asterisk with GET", "3.2.4", line("GET * HTTP/1.1"), &[400]),
        serve(
            "OPTIONS with a path",
            "3.2.1",
            line("OPTIONS /a HTTP/1.1"),
            "OPTIONS /a||",
        ),
    ]
}

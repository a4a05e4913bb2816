//! Host: RFC 9112 section 3.2, RFC 9110 section 7.2.

use crate::case::{Http1Case, refuse, serve};

fn with(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost:{host}\r\n\r\n")
}

pub(crate) fn cases() -> Vec<Http1Case> {
    let bad = |name, host: &str| refuse(name, "3.2", with(host), &[400]).keeps();
    vec![
        refuse("no Host", "3.2", "GET / HTTP/1.1\r\n\r\n", &[400]).keeps(),
        refuse(
            "two Hosts that differ",
            "3.2",
            "GET / HTTP/1.1\r\nHost: app.example\r\nHost: other.example\r\n\r\n",
            &[400],
        )
        .keeps(),
        refuse(
            "two Hosts that agree",
            "3.2",
            "GET / HTTP/1.1\r\nHost: app.example\r\nHost: app.example\r\n\r\n",
            &[400],
        )
        .keeps(),
        refuse(
            "a second Host in capitals",
            "3.2",
            "GET / HTTP/1.1\r\nHost: app.example\r\nHOST: other.example\r\n\r\n",
            &[400],
        )
        .keeps(),
        bad("empty Host", ""),
        bad("two hosts in one line", " app.example, other.example"),
        bad("two hosts with a space", " app.example other.example"),
        bad("Host with a path", " app.example/a"),
        bad("Host with a backslash", " app.example\\a"),
        bad("Host with a user", " user@app.example"),
        bad("Host with a port of letters", " app.example:http"),
        bad("Host with two ports", " app.example:80:80"),
        bad("Host with a port too large", " app.example:65536"),
        bad("Host with a query", " app.example?x"),
        bad("Host with a fragment", " app.example#x"),
        bad("Host with a quote", " \"app.example\""),
        bad("Host of an address without its end", " [::1"),
        bad("Host with a percent-encoded letter", " %61pp.example"),
        bad("Host with two dots at its end", " app.example.."),
        bad("Host of a dot", " ."),
        serve("Host without a space", "5", with("app.example"), "GET /||"),
        serve(
            "Host with surrounding whitespace",
            "5",
            with(" \t app.example \t "),
            "GET /||",
        ),
        serve(
            "Host with a port",
            "3.2",
            with(" app.example:8080"),
            "GET /||",
        ),
        serve(
            "Host with an empty port",
            "3.2",
            with(" app.example:"),
            "GET /||",
        ),
        serve(
            "Host in capitals",
            "9110 §4.2.3",
            with(" APP.Example"),
            "GET /||",
        ),
        serve(
            "header name in capitals",
            "5",
            "GET / HTTP/1.1\r\nHOST: app.example\r\n\r\n",
            "GET /||",
        ),
        refuse(
            "space between Host and colon",
            "5.1",
            "GET / HTTP/1.1\r\nHost : app.example\r\n\r\n",
            &[400],
        ),
        refuse(
            "Host folded",
            "5.2",
            "GET / HTTP/1.1\r\nHost:\r\n app.example\r\n\r\n",
            &[400],
        ),
        serve(
            "HTTP/1.0 with Host",
            "3.2",
            "GET / HTTP/1.0\r\nHost: app.example\r\n\r\n",
            "GET /||",
        )
        .closes(),
    ]
}

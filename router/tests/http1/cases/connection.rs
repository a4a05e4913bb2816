//! Persistence, expectations and upgrades: RFC 9112 section 9, RFC 9110 sections 7.8 and 10.1.1.

use crate::case::{Http1Case, get, post, refuse, serve};

pub(crate) fn cases() -> Vec<Http1Case> {
    let old = |headers: &str| format!("GET / HTTP/1.0\r\nHost: app.example\r\n{headers}\r\n");
    let websocket = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    vec![
        serve("close", "9.6", get("Connection: close\r\n"), "GET /||").closes(),
        serve(
            "close in capitals",
            "9.6",
            get("Connection: CLOSE\r\n"),
            "GET /||",
        )
        .closes(),
        serve(
            "close in a list",
            "9.6",
            get("Connection: x-y, close\r\n"),
            "GET /||",
        )
        .closes(),
        serve(
            "close in a second line",
            "9.6",
            get("Connection: keep-alive\r\nConnection: close\r\n"),
            "GET /||",
        )
        .closes(),
        serve(
            "close after keep-alive",
            "9.3",
            get("Connection: keep-alive, close\r\n"),
            "GET /||",
        )
        .closes(),
        serve(
            "keep-alive",
            "9.3",
            get("Connection: keep-alive\r\n"),
            "GET /||",
        ),
        serve(
            "header named by Connection is removed",
            "9110 §7.6.1",
            get("Connection: x\r\nX: secret\r\n"),
            "GET /||",
        ),
        serve("HTTP/1.0 closes", "9.3", old(""), "GET /||").closes(),
        serve(
            "HTTP/1.0 with keep-alive",
            "9.3",
            old("Connection: keep-alive\r\n"),
            "GET /||",
        ),
        serve(
            "HTTP/1.0 with a body",
            "6.2",
            "POST / HTTP/1.0\r\nHost: app.example\r\nContent-Length: 5\r\n\r\nhello",
            "POST /|hello|",
        )
        .closes(),
        serve(
            "unknown expectation in HTTP/1.0 is ignored",
            "9110 §10.1.1",
            old("Expect: magic\r\n"),
            "GET /||",
        )
        .closes(),
        refuse(
            "unknown expectation",
            "9110 §10.1.1",
            get("Expect: magic\r\n"),
            &[417],
        )
        .keeps(),
        refuse(
            "unknown expectation beside a known one",
            "9110 §10.1.1",
            get("Expect: 100-continue\r\nExpect: magic\r\n"),
            &[417],
        )
        .keeps(),
        serve(
            "expectation of 100 without a body",
            "9110 §10.1.1",
            get("Expect: 100-continue\r\n"),
            "GET /||",
        ),
        serve(
            "expectation of 100 in capitals",
            "9110 §10.1.1",
            post("Expect: 100-Continue\r\nContent-Length: 5\r\n", "hello"),
            "POST /|hello|",
        ),
        serve(
            "WebSocket that the app does not take",
            "9110 §7.8",
            get(websocket),
            "GET /||",
        ),
        serve(
            "offer of h2c is ignored",
            "9110 §7.8",
            get(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
            ),
            "GET /||",
        ),
        serve(
            "offer of another protocol is ignored",
            "9110 §7.8",
            get("Connection: Upgrade\r\nUpgrade: foo/2\r\n"),
            "GET /||",
        ),
        serve(
            "TE is removed",
            "9110 §10.1.4",
            get("TE: trailers\r\nConnection: TE\r\n"),
            "GET /||",
        ),
    ]
}

//! Pipelined requests: RFC 9112 section 9.3.2.

use crate::case::{Http1Case, line, post, refuse, serve};

pub(crate) fn cases() -> Vec<Http1Case> {
    let get = |path: &str| line(&format!("GET {path} HTTP/1.1"));
    let all = |paths: &[&str]| paths.iter().map(|path| get(path)).collect::<String>();
    let ten: Vec<String> = (0..10).map(|number| format!("/{number}")).collect();
    let ten: Vec<&str> = ten.iter().map(String::as_str).collect();
    let saw: Vec<String> = ten.iter().map(|path| format!("GET {path}||")).collect();
    let mut posts = post("Content-Length: 1\r\n", "1");
    posts += &post("Transfer-Encoding: chunked\r\n", "1\r\n2\r\n0\r\n\r\n");
    posts += &get("/3");
    let closing = "GET /b HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n";
    vec![
        serve("ten requests at once", "9.3.2", all(&ten), &saw.join("\n")),
        serve(
            "bodies between requests",
            "9.3.2",
            posts,
            "POST /|1|\nPOST /|2|\nGET /3||",
        ),
        serve(
            "blank line between requests",
            "2.2",
            format!("{}\r\n{}", get("/a"), get("/b")),
            "GET /a||\nGET /b||",
        ),
        serve(
            "no request is served after close",
            "9.6",
            format!("{}{closing}{}", get("/a"), get("/c")),
            "GET /a||\nGET /b||",
        )
        .closes(),
        refuse(
            "no request is served after a refused request",
            "9.6",
            format!("{}GET /\r\n\r\n{}", get("/a"), get("/c")),
            &[400],
        )
        .after("GET /a||"),
        serve(
            "HEAD between requests",
            "9.3.2",
            format!("{}{}", line("HEAD /a HTTP/1.1"), get("/b")),
            "HEAD /a||\nGET /b||",
        ),
        serve(
            "line ends after a body are skipped",
            "2.2",
            format!("{}\r\n{}", post("Content-Length: 1\r\n", "1"), get("/b")),
            "POST /|1|\nGET /b||",
        ),
    ]
}

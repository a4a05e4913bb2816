//! Content-Length: RFC 9112 section 6.2, RFC 9110 section 8.6.

use crate::case::{Http1Case, get, post, refuse, serve};

pub(crate) fn cases() -> Vec<Http1Case> {
    let bad = |name, value: &str| {
        let request = post(&format!("Content-Length:{value}\r\n"), "hello");
        refuse(name, "6.2", request, &[400])
    };
    vec![
        serve(
            "body of known length",
            "6.2",
            post("Content-Length: 5\r\n", "hello"),
            "POST /|hello|",
        ),
        serve(
            "empty body",
            "6.2",
            post("Content-Length: 0\r\n", ""),
            "POST /||",
        ),
        serve(
            "POST without a length has no body",
            "6.3",
            post("", ""),
            "POST /||",
        ),
        serve(
            "length with surrounding whitespace",
            "5",
            post("Content-Length: \t5 \t\r\n", "hello"),
            "POST /|hello|",
        ),
        serve(
            "length with leading zeros",
            "6.2",
            post("Content-Length: 005\r\n", "hello"),
            "POST /|hello|",
        ),
        serve(
            "GET with a body",
            "9110 §9.3.1",
            format!("{}hello", get("Content-Length: 5\r\n")),
            "GET /|hello|",
        ),
        serve(
            "DELETE with a body",
            "6.2",
            "DELETE / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 2\r\n\r\nok",
            "DELETE /|ok|",
        ),
        serve(
            "body of line ends",
            "6.2",
            post("Content-Length: 4\r\n", "\r\n\r\n"),
            "POST /|\r\n\r\n|".replace("\r\n", "\\r\\n").as_str(),
        ),
        serve(
            "body that looks like a request",
            "6.2",
            post("Content-Length: 18\r\n", "GET /x HTTP/1.1\r\n\r"),
            "POST /|GET /x HTTP/1.1\\r\\n\\r|",
        ),
        bad("length with a plus", " +5"),
        bad("negative length", " -5"),
        bad("negative length of nothing", " -0"),
        bad("empty length", ""),
        bad("length of spaces", "  "),
        bad("length in hexadecimal", " 0x5"),
        bad("length of letters", " five"),
        bad("length with a letter behind", " 5a"),
        bad("length with a point", " 5.0"),
        bad("length with an exponent", " 5e0"),
        bad("length with an underscore", " 0_5"),
        bad("length with a space inside", " 5 5"),
        bad("length in quotes", " \"5\""),
        bad("length list that agrees", " 5, 5"),
        bad("length list that differs", " 5, 6"),
        bad("length list with an empty part", " 5,"),
        bad("length list with an empty part before", " ,5"),
        bad("length with a semicolon", " 5;"),
        bad("length with a vertical tab", " \u{b}5"),
        bad("length beyond 64 bits", " 18446744073709551621"),
        bad(
            "length of a hundred digits",
            &format!(" {}", "9".repeat(100)),
        ),
        refuse(
            "length with digits outside of ASCII",
            "6.2",
            post("Content-Length: \u{665}\r\n", "hello"),
            &[400],
        ),
        refuse(
            "two lengths that differ",
            "6.3",
            post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"),
            &[400],
        ),
        refuse(
            "two lengths that agree",
            "6.3",
            post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
            &[400],
        ),
        refuse(
            "two lengths in other cases",
            "6.3",
            post("Content-Length: 5\r\ncontent-length: 0\r\n", "hello"),
            &[400],
        ),
        refuse(
            "length with a space before its colon",
            "5.1",
            post("Content-Length : 5\r\n", "hello"),
            &[400],
        ),
        refuse(
            "length folded",
            "5.2",
            post("Content-Length:\r\n 5\r\n", "hello"),
            &[400],
        ),
        refuse(
            "length larger than any quota",
            "9110 §15.5.14",
            post("Content-Length: 9223372036854775807\r\n", "hello"),
            &[413],
        ),
        refuse(
            "body ends too early",
            "8",
            post("Content-Length: 10\r\n", "hello"),
            &[400, 408],
        )
        .half_closes(),
        serve(
            "header that resembles a length",
            "6.2",
            post("Content_Length: 9\r\nContent-Length: 5\r\n", "hello"),
            "POST /|hello|",
        ),
    ]
}

//! Chunked bodies: RFC 9112 section 7.1.

use crate::case::{Http1Case, chunks, post, refuse, serve};

pub(crate) fn cases() -> Vec<Http1Case> {
    let ok = |name, section, body: &str| serve(name, section, chunks(body), "POST /|hello|");
    let bad = |name, section, body: &str| refuse(name, section, chunks(body), &[400]);
    let coding = |name, value: &str, statuses| {
        let request = post(
            &format!("Transfer-Encoding:{value}\r\n"),
            "5\r\nhello\r\n0\r\n\r\n",
        );
        refuse(name, "6.1", request, statuses)
    };
    let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(20_000));
    let many_extensions = format!(
        "{}0\r\n\r\n",
        format!("1;{}\r\na\r\n", "x".repeat(100)).repeat(100)
    );
    let trailers: String = (0..2000)
        .map(|number| format!("X-{number}: 1\r\n"))
        .collect();
    vec![
        ok("chunk", "7.1", "5\r\nhello\r\n0\r\n\r\n"),
        ok("chunks", "7.1", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        ok(
            "chunk size with leading zeros",
            "7.1",
            "0005\r\nhello\r\n000\r\n\r\n",
        ),
        serve(
            "chunk size in hexadecimal of both cases",
            "7.1",
            chunks("a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n"),
            "POST /|01234567890123456789a|",
        ),
        serve(
            "only the last chunk",
            "7.1",
            chunks("0\r\n\r\n"),
            "POST /||",
        ),
        serve(
            "chunked in capitals",
            "7",
            post("Transfer-Encoding: CHUNKED\r\n", "5\r\nhello\r\n0\r\n\r\n"),
            "POST /|hello|",
        ),
        ok("chunk extension", "7.1.1", "5;a=b\r\nhello\r\n0\r\n\r\n"),
        ok(
            "chunk extension in quotes",
            "7.1.1",
            "5;a=\"b;c\"\r\nhello\r\n0;x\r\n\r\n",
        ),
        ok(
            "whitespace before a chunk extension",
            "7.1.1",
            "5 \t;a=b\r\nhello\r\n0\r\n\r\n",
        ),
        ok("trailer", "7.1.2", "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"),
        ok(
            "length in a trailer is ignored",
            "7.1.2",
            "5\r\nhello\r\n0\r\nContent-Length: 3\r\nX: t\r\n\r\n",
        ),
        bad("chunk size missing", "7.1", "\r\nhello\r\n0\r\n\r\n"),
        bad("chunk size of letters", "7.1", "xyz\r\nhello\r\n0\r\n\r\n"),
        bad("chunk size negative", "7.1", "-5\r\nhello\r\n0\r\n\r\n"),
        bad("chunk size with a plus", "7.1", "+5\r\nhello\r\n0\r\n\r\n"),
        bad("chunk size with 0x", "7.1", "0x5\r\nhello\r\n0\r\n\r\n"),
        bad(
            "chunk size with an underscore",
            "7.1",
            "0_5\r\nhello\r\n0\r\n\r\n",
        ),
        bad("chunk size in quotes", "7.1", "\"5\"\r\nhello\r\n0\r\n\r\n"),
        bad(
            "space before a chunk size",
            "7.1",
            " 5\r\nhello\r\n0\r\n\r\n",
        ),
        bad(
            "space after a chunk size",
            "7.1.1",
            "5 \r\nhello\r\n0\r\n\r\n",
        ),
        bad(
            "tab after a chunk size",
            "7.1.1",
            "5\t\r\nhello\r\n0\r\n\r\n",
        ),
        bad(
            "comma after a chunk size",
            "7.1",
            "5,\r\nhello\r\n0\r\n\r\n",
        ),
        bad("NUL after a chunk size", "7.1", "5\0\r\nhello\r\n0\r\n\r\n"),
        bad(
            "chunk size of 16 digits",
            "7.1",
            "fffffffffffffffb\r\nhello\r\n0\r\n\r\n",
        ),
        bad(
            "chunk size that overflows to 5",
            "7.1",
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
        ),
        bad(
            "chunk size of many zeros",
            "7.1",
            &format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(50)),
        ),
        bad(
            "chunk size line ends in bare LF",
            "7.1",
            "5\nhello\r\n0\r\n\r\n",
        ),
        bad(
            "chunk size line ends in bare CR",
            "7.1",
            "5\rhello\r\n0\r\n\r\n",
        ),
        bad(
            "chunk size line ends in CR CR LF",
            "7.1",
            "5\r\r\nhello\r\n0\r\n\r\n",
        ),
        bad("chunk ends in bare LF", "7.1", "5\r\nhello\n0\r\n\r\n"),
        bad(
            "chunk ends in two other bytes",
            "7.1",
            "5\r\nhelloXX0\r\n\r\n",
        ),
        bad(
            "chunk longer than its size",
            "7.1",
            "3\r\nhello\r\n0\r\n\r\n",
        ),
        bad(
            "chunk shorter than its size",
            "7.1",
            "7\r\nhello\r\n0\r\n\r\n",
        ),
        bad(
            "chunk extension with a bare LF",
            "7.1.1",
            "5;a\nb\r\nhello\r\n0\r\n\r\n",
        ),
        bad(
            "chunk extension with a bare CR",
            "7.1.1",
            "5;a\rb\r\nhello\r\n0\r\n\r\n",
        ),
        bad(
            "chunk extension ends in bare LF",
            "7.1.1",
            "5;\nhello\r\n0\r\n\r\n",
        ),
        bad(
            "chunk extension with NUL",
            "7.1.1",
            "5;a\0\r\nhello\r\n0\r\n\r\n",
        ),
        bad("chunk extension too long", "7.1.1", &long_extension),
        bad(
            "chunk extensions too long together",
            "7.1.1",
            &many_extensions,
        ),
        bad("last chunk with bare LFs", "7.1", "5\r\nhello\r\n0\n\n"),
        bad("last line ends in bare LF", "7.1", "5\r\nhello\r\n0\r\n\n"),
        bad(
            "trailer without a colon",
            "7.1.2",
            "5\r\nhello\r\n0\r\nX\r\n\r\n",
        ),
        bad(
            "trailer with a space before its colon",
            "7.1.2",
            "5\r\nhello\r\n0\r\nX : 1\r\n\r\n",
        ),
        bad(
            "trailer folded",
            "7.1.2",
            "5\r\nhello\r\n0\r\nX: 1\r\n 2\r\n\r\n",
        ),
        bad(
            "trailer ends in bare LF",
            "7.1.2",
            "5\r\nhello\r\n0\r\nX: 1\n\r\n",
        ),
        bad(
            "trailer with NUL",
            "7.1.2",
            "5\r\nhello\r\n0\r\nX: \0\r\n\r\n",
        ),
        bad(
            "trailers too long",
            "7.1.2",
            &format!("5\r\nhello\r\n0\r\n{trailers}\r\n"),
        ),
        refuse(
            "chunked body ends too early",
            "8",
            chunks("5\r\nhel"),
            &[400, 408],
        )
        .half_closes(),
        refuse(
            "chunked body without its last chunk",
            "8",
            chunks("5\r\nhello\r\n"),
            &[400, 408],
        )
        .half_closes(),
        coding("unknown coding before chunked", " gzip, chunked", &[501]),
        coding("chunked before another coding", " chunked, gzip", &[400]),
        coding("unknown coding alone", " gzip", &[400, 501]),
        coding("identity", " identity", &[400, 501]),
        coding("chunked twice", " chunked, chunked", &[400]),
        coding("empty coding", "", &[400]),
        coding("coding of a comma", " ,", &[400]),
        coding("empty coding after chunked", " chunked,", &[400]),
        coding("empty coding before chunked", " ,chunked", &[400, 501]),
        coding("chunked with a parameter", " chunked;a=b", &[400]),
        coding("chunked in quotes", " \"chunked\"", &[400]),
        coding(
            "chunked with an additional letter",
            " xchunked",
            &[400, 501],
        ),
        coding("chunked with a point", " chunked.", &[400, 501]),
        coding("chunked with a vertical tab", " \u{b}chunked", &[400]),
        coding(
            "chunked with a no-break space",
            " \u{a0}chunked",
            &[400, 501],
        ),
    ]
}

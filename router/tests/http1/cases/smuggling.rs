//! Requests inside others: RFC 9112 sections 6.1, 6.3 and 11.2.

use crate::case::{Case, post, refuse, serve};

const INNER: &str = "GET /inner HTTP/1.1\r\nHost: app.example\r\n\r\n";

pub(crate) fn cases() -> Vec<Case> {
    let both = |name, headers: &str| {
        let body = format!("0\r\n\r\n{INNER}");
        refuse(name, "6.1", post(headers, &body), &[400])
    };
    let zero = |name, headers: &str| refuse(name, "6.3", post(headers, INNER), &[400]);
    vec![
        both(
            "CL.TE",
            "Content-Length: 46\r\nTransfer-Encoding: chunked\r\n",
        ),
        both(
            "TE.CL",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        ),
        both(
            "CL.TE with an unknown coding",
            "Content-Length: 46\r\nTransfer-Encoding: xchunked\r\n",
        ),
        both(
            "length of 0 and chunked",
            "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        ),
        both(
            "TE.TE with another coding",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        ),
        both(
            "TE.TE with the other coding first",
            "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
        ),
        both(
            "TE.TE twice the same",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ),
        both(
            "TE with a blank before its colon",
            "Transfer-Encoding : chunked\r\nContent-Length: 4\r\n",
        ),
        both(
            "TE behind a blank",
            " Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        ),
        both(
            "TE folded",
            "Transfer-Encoding:\r\n chunked\r\nContent-Length: 4\r\n",
        ),
        both(
            "TE behind a bare LF",
            "X: a\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        ),
        both(
            "TE behind a bare CR",
            "X: a\rTransfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        ),
        both(
            "TE with a NUL",
            "Transfer-Encoding: chunked\0\r\nContent-Length: 4\r\n",
        ),
        both(
            "TE that ends in a bare CR",
            "Transfer-Encoding: chunked\r\r\nContent-Length: 4\r\n",
        ),
        both(
            "TE named as by a header with an underscore",
            "Transfer_Encoding: chunked\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        ),
        zero("0.CL by a list", "Content-Length: 0, 43\r\n"),
        zero(
            "0.CL by two lines",
            "Content-Length: 0\r\nContent-Length: 43\r\n",
        ),
        zero(
            "0.CL by a blank before the colon",
            "Content-Length : 43\r\n",
        ),
        zero("0.CL by a fold", "Content-Length:\r\n 43\r\n"),
        zero("0.CL by a plus", "Content-Length: +43\r\n"),
        zero("0.CL by a NUL", "Content-Length: 43\0\r\n"),
        zero(
            "0.CL by a name behind a control character",
            "\u{b}Content-Length: 43\r\n",
        ),
        refuse(
            "Transfer-Encoding in HTTP/1.0",
            "6.1",
            "POST / HTTP/1.0\r\nHost: app.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            &[400],
        ),
        refuse(
            "Transfer-Encoding and a length in HTTP/1.0",
            "6.1",
            "POST / HTTP/1.0\r\nHost: app.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
            &[400],
        ),
        serve(
            "a request behind a body is one of its own",
            "9.3",
            post("Content-Length: 5\r\n", &format!("hello{INNER}")),
            "POST /|hello|\nGET /inner||",
        ),
        serve(
            "a request behind chunks is one of its own",
            "9.3",
            post(
                "Transfer-Encoding: chunked\r\n",
                &format!("5\r\nhello\r\n0\r\n\r\n{INNER}"),
            ),
            "POST /|hello|\nGET /inner||",
        ),
        serve(
            "a request behind a GET is one of its own",
            "9.3",
            format!("GET / HTTP/1.1\r\nHost: app.example\r\n\r\n{INNER}"),
            "GET /||\nGET /inner||",
        ),
        serve(
            "a request behind a trailer is one of its own",
            "7.1.2",
            post(
                "Transfer-Encoding: chunked\r\n",
                &format!("0\r\nContent-Length: 43\r\n\r\n{INNER}"),
            ),
            "POST /||\nGET /inner||",
        ),
        serve(
            "an underscore does not make a length",
            "6.3",
            post("Content_Length: 43\r\n", INNER),
            "POST /||\nGET /inner||",
        ),
        serve(
            "Connection cannot take the length away",
            "9110 §7.6.1",
            post(
                "Connection: content-length\r\nContent-Length: 5\r\n",
                "hello",
            ),
            "POST /|hello|",
        ),
        serve(
            "Connection cannot take the coding away",
            "9110 §7.6.1",
            post(
                "Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
            "POST /|hello|",
        ),
        refuse(
            "a bad request behind a good one",
            "9.3",
            format!(
                "GET /a HTTP/1.1\r\nHost: app.example\r\n\r\n{}",
                "GET / HTTP/1.1\nHost: app.example\r\n\r\n"
            ),
            &[400],
        )
        .after("GET /a||"),
        refuse(
            "bad chunks behind a good request",
            "9.3",
            format!(
                "GET /a HTTP/1.1\r\nHost: app.example\r\n\r\n{}",
                post("Transfer-Encoding: chunked\r\n", "x\r\n")
            ),
            &[400],
        )
        .after("GET /a||"),
        refuse(
            "a request behind a bad one is not served",
            "11.2",
            format!("GET / HTTP/1.1\r\nHost: app.example\r\nX : a\r\n\r\n{INNER}"),
            &[400],
        ),
        refuse(
            "a request behind bad chunks is not served",
            "11.2",
            post(
                "Transfer-Encoding: chunked\r\n",
                &format!("z\r\n\r\n{INNER}"),
            ),
            &[400],
        ),
    ]
}

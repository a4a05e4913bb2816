//! Request smuggling: RFC 9112 sections 6.1, 6.3 and 11.2.

use crate::case::{Http1Case, post, refuse, serve};

const INNER: &str = "GET /inner HTTP/1.1\r\nHost: app.example\r\n\r\n";

pub(crate) fn cases() -> Vec<Http1Case> {
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
            "TE with a space before its colon",
            "Transfer-Encoding : chunked\r\nContent-Length: 4\r\n",
        ),
        both(
            "TE after a space",
            " Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        ),
        both(
            "TE folded",
            "Transfer-Encoding:\r\n chunked\r\nContent-Length: 4\r\n",
        ),
        both(
            "TE after a bare LF",
            "X: a\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        ),
        both(
            "TE after a bare CR",
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
            "TE beside a header with an underscore",
            "Transfer_Encoding: chunked\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        ),
        zero("0.CL by a list", "Content-Length: 0, 43\r\n"),
        zero(
            "0.CL by two lines",
            "Content-Length: 0\r\nContent-Length: 43\r\n",
        ),
        zero(
            "0.CL by a space before the colon",
            "Content-Length : 43\r\n",
        ),
        zero("0.CL by a fold", "Content-Length:\r\n 43\r\n"),
        zero("0.CL by a plus", "Content-Length: +43\r\n"),
        zero("0.CL by a NUL", "Content-Length: 43\0\r\n"),
        zero(
            "0.CL by a name after a control character",
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
            "request after a body is separate",
            "9.3",
            post("Content-Length: 5\r\n", &format!("hello{INNER}")),
            "POST /|hello|\nGET /inner||",
        ),
        serve(
            "request after chunks is separate",
            "9.3",
            post(
                "Transfer-Encoding: chunked\r\n",
                &format!("5\r\nhello\r\n0\r\n\r\n{INNER}"),
            ),
            "POST /|hello|\nGET /inner||",
        ),
        serve(
            "request after a GET is separate",
            "9.3",
            format!("GET / HTTP/1.1\r\nHost: app.example\r\n\r\n{INNER}"),
            "GET /||\nGET /inner||",
        ),
        serve(
            "request after a trailer is separate",
            "7.1.2",
            post(
                "Transfer-Encoding: chunked\r\n",
                &format!("0\r\nContent-Length: 43\r\n\r\n{INNER}"),
            ),
            "POST /||\nGET /inner||",
        ),
        serve(
            "header with an underscore is not a length",
            "6.3",
            post("Content_Length: 43\r\n", INNER),
            "POST /||\nGET /inner||",
        ),
        serve(
            "Connection cannot remove the length",
            "9110 §7.6.1",
            post(
                "Connection: content-length\r\nContent-Length: 5\r\n",
                "hello",
            ),
            "POST /|hello|",
        ),
        serve(
            "Connection cannot remove the coding",
            "9110 §7.6.1",
            post(
                "Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
            "POST /|hello|",
        ),
        refuse(
            "invalid request after a valid one",
            "9.3",
            format!(
                "GET /a HTTP/1.1\r\nHost: app.example\r\n\r\n{}",
                "GET / HTTP/1.1\nHost: app.example\r\n\r\n"
            ),
            &[400],
        )
        .after("GET /a||"),
        refuse(
            "invalid chunks after a valid request",
            "9.3",
            format!(
                "GET /a HTTP/1.1\r\nHost: app.example\r\n\r\n{}",
                post("Transfer-Encoding: chunked\r\n", "x\r\n")
            ),
            &[400],
        )
        .after("GET /a||"),
        refuse(
            "request after an invalid one is not served",
            "11.2",
            format!("GET / HTTP/1.1\r\nHost: app.example\r\nX : a\r\n\r\n{INNER}"),
            &[400],
        ),
        refuse(
            "request after invalid chunks is not served",
            "11.2",
            post(
                "Transfer-Encoding: chunked\r\n",
                &format!("z\r\n\r\n{INNER}"),
            ),
            &[400],
        ),
    ]
}

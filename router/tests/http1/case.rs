//! A case of the HTTP/1 corpus, and builders of requests.

/// Bytes that a client sends over a new connection, and the required result.
#[derive(Debug, Clone)]
pub(crate) struct Http1Case {
    /// Short description, unique in the corpus: the key of `differences.tsv`.
    pub(crate) name: &'static str,
    /// Section of RFC 9112, or of another RFC that it names.
    pub(crate) section: &'static str,
    /// Bytes of the client.
    pub(crate) send: Vec<u8>,
    /// Action of the client after the last byte.
    pub(crate) then: AfterSending,
    /// Accepted statuses of each response, in order.
    pub(crate) statuses: Vec<&'static [u16]>,
    /// Required end of the connection.
    pub(crate) end: ConnectionEnd,
    /// Requests that the app must see, as `METHOD target|body|value of X`.
    pub(crate) saw: Vec<String>,
}

/// Action of a client after the last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterSending {
    /// It waits for responses.
    Waits,
    /// It shuts down its side of the connection.
    HalfCloses,
}

/// End of the connection after the last response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionEnd {
    /// The server closes the connection.
    Closed,
    /// The connection serves another request.
    Kept,
}

/// Makes a case whose request gets one of `statuses` and a closed connection. The app must not see it.
pub(crate) fn refuse(
    name: &'static str,
    section: &'static str,
    send: impl AsRef<[u8]>,
    statuses: &'static [u16],
) -> Http1Case {
    Http1Case {
        name,
        section,
        send: send.as_ref().to_vec(),
        then: AfterSending::Waits,
        statuses: vec![statuses],
        end: ConnectionEnd::Closed,
        saw: Vec::new(),
    }
}

/// Makes a case whose requests are served and whose connection is kept. `saw` has a line for each request.
pub(crate) fn serve(
    name: &'static str,
    section: &'static str,
    send: impl AsRef<[u8]>,
    saw: &str,
) -> Http1Case {
    let saw: Vec<String> = saw.lines().map(str::to_owned).collect();
    Http1Case {
        name,
        section,
        send: send.as_ref().to_vec(),
        then: AfterSending::Waits,
        statuses: vec![&[200]; saw.len()],
        end: ConnectionEnd::Kept,
        saw,
    }
}

impl Http1Case {
    /// Requires that the server closes the connection.
    pub(crate) fn closes(mut self) -> Self {
        self.end = ConnectionEnd::Closed;
        self
    }

    /// Lets the client shut down its side after the last byte.
    pub(crate) fn half_closes(mut self) -> Self {
        self.then = AfterSending::HalfCloses;
        self
    }

    /// Requires that the requests before the refused one are served. `saw` has a line for each.
    pub(crate) fn after(mut self, saw: &str) -> Self {
        for line in saw.lines() {
            self.saw.push(line.to_owned());
            self.statuses.insert(0, &[200]);
        }
        self
    }

    /// Requires that the connection is kept although the request is refused.
    pub(crate) fn keeps(mut self) -> Self {
        self.end = ConnectionEnd::Kept;
        self
    }
}

/// Makes a GET with these header lines, each ending in CRLF.
pub(crate) fn get(headers: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: app.example\r\n{headers}\r\n")
}

/// Makes a POST with these header lines and this body.
pub(crate) fn post(headers: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: app.example\r\n{headers}\r\n{body}")
}

/// Makes a POST with a chunked body.
pub(crate) fn chunks(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

/// Makes a request of a request line and `Host`.
pub(crate) fn line(line: &str) -> String {
    format!("{line}\r\nHost: app.example\r\n\r\n")
}

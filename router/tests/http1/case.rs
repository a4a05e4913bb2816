//! The form of a case.

/// Bytes that a client sends over a connection of their own, and what must come of them.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// A sentence in short; the key of `differences.tsv`.
    pub(crate) name: &'static str,
    /// The section of RFC 9112, or of the RFC that is named.
    pub(crate) section: &'static str,
    pub(crate) send: Vec<u8>,
    /// Whether the client closes its side then.
    pub(crate) then: Then,
    /// The statuses of all responses in their order, each one of a few.
    pub(crate) statuses: Vec<&'static [u16]>,
    pub(crate) end: End,
    /// What the app saw, as `METHOD target|body|value of X`.
    pub(crate) saw: Vec<String>,
}

/// What a client does when it has sent all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Waits,
    HalfCloses,
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The server closes it.
    Closed,
    /// It serves another request.
    Kept,
}

/// A request that must be answered with one of these statuses and a closed connection, and that no app may see.
pub(crate) fn refuse(
    name: &'static str,
    section: &'static str,
    send: impl AsRef<[u8]>,
    statuses: &'static [u16],
) -> Case {
    Case {
        name,
        section,
        send: send.as_ref().to_vec(),
        then: Then::Waits,
        statuses: vec![statuses],
        end: End::Closed,
        saw: Vec::new(),
    }
}

/// Requests that must be served, after which the connection serves more. `saw` is split at line ends.
pub(crate) fn serve(
    name: &'static str,
    section: &'static str,
    send: impl AsRef<[u8]>,
    saw: &str,
) -> Case {
    let saw: Vec<String> = saw.lines().map(str::to_owned).collect();
    Case {
        name,
        section,
        send: send.as_ref().to_vec(),
        then: Then::Waits,
        statuses: vec![&[200]; saw.len()],
        end: End::Kept,
        saw,
    }
}

impl Case {
    /// The server closes the connection afterwards.
    pub(crate) fn closes(mut self) -> Self {
        self.end = End::Closed;
        self
    }

    /// The client closes its side when it has sent all.
    pub(crate) fn half_closes(mut self) -> Self {
        self.then = Then::HalfCloses;
        self
    }

    /// Requests before the refused one are served.
    pub(crate) fn after(mut self, saw: &str) -> Self {
        for line in saw.lines() {
            self.saw.push(line.to_owned());
            self.statuses.insert(0, &[200]);
        }
        self
    }

    /// An answer without a request of the app's: the connection is kept.
    pub(crate) fn keeps(mut self) -> Self {
        self.end = End::Kept;
        self
    }
}

/// A GET with these header lines, each ending in CRLF.
pub(crate) fn get(headers: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: app.example\r\n{headers}\r\n")
}

/// A POST with these header lines and this body.
pub(crate) fn post(headers: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: app.example\r\n{headers}\r\n{body}")
}

/// A POST in chunks.
pub(crate) fn chunks(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

/// A request line with the host's header behind it.
pub(crate) fn line(line: &str) -> String {
    format!("{line}\r\nHost: app.example\r\n\r\n")
}

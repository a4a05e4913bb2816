//! A response of HTTP/1.1, parsed.

/// A response, as far as it has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientResponse {
    /// Status code.
    pub status: u16,
    /// Header fields in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as text, without chunk framing.
    pub body: String,
    /// The body without chunk framing.
    pub bytes: Vec<u8>,
    /// `true` if the body is complete according to its framing.
    pub complete: bool,
}

impl ClientResponse {
    /// Parses the bytes of a response, which may still be arriving.
    ///
    /// # Panics
    ///
    /// Panics if the head is incomplete.
    pub fn parse(response: &[u8]) -> Self {
        let end = response.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(response)));
        let head = String::from_utf8_lossy(&response[..end]).into_owned();
        let body = &response[end + 4..];
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let value = |wanted: &str| {
            let found = headers.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.as_str())
        };
        let (bytes, complete) = match (value("transfer-encoding"), value("content-length")) {
            (Some("chunked"), _) => join_chunks(body),
            (_, Some(length)) => (body.to_vec(), length.parse() == Ok(body.len())),
            _ => (body.to_vec(), true),
        };
        Self {
            status: status.parse().unwrap(),
            headers,
            body: String::from_utf8_lossy(&bytes).into_owned(),
            bytes,
            complete,
        }
    }

    /// Returns the value of a header field, empty if the response does not have it.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// Returns `X-Cache`: what the cache did with the request.
    pub fn x_cache(&self) -> &str {
        self.header("x-cache")
    }
}

/// Returns the bytes of a chunked body, and whether its last chunk has arrived.
fn join_chunks(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        rest = &rest[end + 2..];
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        if size == 0 {
            return (body, true);
        }
        rest = rest.get(size + 2..).unwrap_or_default();
    }
    (body, false)
}

//! Content codings and their negotiation with `Accept-Encoding` (RFC 9110 section 12.5.3).

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// A content coding that the router can encode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContentCoding {
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
}

impl ContentCoding {
    /// All codings; those that usually make text smallest come first.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// Returns the name in `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    fn named(name: &str) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let found = Self::ALL.into_iter().find(|coding| is(coding.name()));
        // The name of RFC 2616, which recipients treat as equivalent (RFC 9110 section 8.4.1.3).
        found.or_else(|| is("x-gzip").then_some(Self::Gzip))
    }
}

/// Weights of the codings in thousandths; 0 means not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AcceptEncoding {
    codings: [u16; 3],
    identity: u16,
}

impl AcceptEncoding {
    /// Parses a request's `Accept-Encoding`. Without the header a client gets no coding, since it may support none.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let (mut codings, mut identity, mut others) = ([None; 3], None, None);
        let lines = headers.get_all(ACCEPT_ENCODING).iter();
        let items = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','));
        for item in items {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let (name, weight) = (name.trim(), Some(weight(parameters)));
            match ContentCoding::named(name) {
                Some(coding) => codings[coding as usize] = weight,
                None if name == "*" => others = weight,
                None if name.eq_ignore_ascii_case("identity") => identity = weight,
                None => {}
            }
        }
        Self {
            codings: codings.map(|weight| weight.or(others).unwrap_or(0)),
            // Acceptable if it is not mentioned, but less than every coding that is.
            identity: identity.unwrap_or(if others == Some(0) { 0 } else { 1 }),
        }
    }

    /// Returns whether the client accepts a coding at all.
    pub(crate) fn accepts(self, coding: ContentCoding) -> bool {
        self.codings[coding as usize] > 0
    }

    /// Returns the coding with the greatest weight among those `offered`; an earlier one wins a tie. Returns `None` if
    /// the client prefers the unencoded content or accepts none of the codings.
    pub(crate) fn choose(
        self,
        offered: impl Iterator<Item = ContentCoding>,
    ) -> Option<ContentCoding> {
        let mut best = (0, None);
        for coding in offered {
            let weight = self.codings[coding as usize];
            if weight > best.0 {
                best = (weight, Some(coding));
            }
        }
        best.1.filter(|_| best.0 >= self.identity)
    }
}

/// Parses the `q` parameter of a member. An invalid weight makes the coding unacceptable, since every client can read
/// unencoded content.
fn weight(parameters: &str) -> u16 {
    let mut parameters = parameters.split(';').map(str::trim);
    let q = parameters.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
    let Some(q) = q else { return 1000 };
    let (whole, part) = q.split_once('.').unwrap_or((q, ""));
    if part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
        return 0;
    }
    let digits = part.bytes().chain([b'0'; 3]).take(3);
    let thousandths = digits.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match (whole, thousandths) {
        ("1", 0) => 1000,
        ("0", thousandths) => thousandths,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn chosen(accept: &str) -> Option<ContentCoding> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(accept).unwrap());
        AcceptEncoding::of(&headers).choose(ContentCoding::ALL.into_iter())
    }

    #[test]
    fn coding_with_the_greatest_weight_is_chosen() {
        assert_eq!(
            chosen("gzip, deflate, br, zstd"),
            Some(ContentCoding::Brotli),
            "ties are ours to decide"
        );
        assert_eq!(chosen("gzip;q=1, br;q=0.9"), Some(ContentCoding::Gzip));
        assert_eq!(
            chosen("gzip;q=0.5, zstd;q=0.501"),
            Some(ContentCoding::Zstd)
        );
        assert_eq!(chosen("GZip"), Some(ContentCoding::Gzip));
        assert_eq!(chosen("x-gzip"), Some(ContentCoding::Gzip));
        assert_eq!(chosen("*"), Some(ContentCoding::Brotli));
        assert_eq!(chosen("*, br;q=0"), Some(ContentCoding::Zstd));
        assert_eq!(chosen("gzip ; q=0.001"), Some(ContentCoding::Gzip));
    }

    #[test]
    fn no_coding_is_chosen_without_an_acceptable_one() {
        for accept in [
            "",
            "deflate",
            "identity",
            "br;q=0",
            "gzip;q=0.000",
            "*;q=0",
            "gzip;q=2",
            "gzip;q=x",
            "gzip;q=0.5, identity",
            "gzip;q=0.1234",
            "gzip;q=-1",
            "gzip;q=1.1",
        ] {
            assert_eq!(chosen(accept), None, "{accept:?}");
        }
        assert_eq!(
            AcceptEncoding::of(&HeaderMap::new()).choose(ContentCoding::ALL.into_iter()),
            None
        );
    }

    #[test]
    fn accept_encoding_lines_are_combined() {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT_ENCODING, HeaderValue::from_static("deflate"));
        headers.append(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let accepted = AcceptEncoding::of(&headers);
        assert_eq!(
            accepted.choose(ContentCoding::ALL.into_iter()),
            Some(ContentCoding::Gzip)
        );
    }
}

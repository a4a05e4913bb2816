//! Entity tags of encoded responses: one for each coding, from which the app's own tag can be told.
//!
//! | the app's tag | encoded with gzip |
//! |---|---|
//! | `"a"` | `W/"a;gzip"` |
//! | `W/"a"` | `W/"a;gzip;weak"` |
//! | `a`, which is invalid but common | `W/"a;gzip;bare"` |
//!
//! All are weak: two encoders may turn the same bytes into different ones.

use bytes::Bytes;
use http::HeaderValue;

use crate::semantics::accept_encoding::ContentCoding;
use crate::semantics::entity_tag::EntityTag;

/// Spelling of a tag by an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TagSpelling {
    /// `"a"`
    Strong,
    /// `W/"a"`
    Weak,
    /// `a`
    Bare,
}

impl TagSpelling {
    const ALL: [Self; 3] = [Self::Strong, Self::Weak, Self::Bare];

    /// End of an encoded response's tag, after the coding.
    fn suffix(self) -> &'static str {
        match self {
            Self::Strong => "\"",
            Self::Weak => ";weak\"",
            Self::Bare => ";bare\"",
        }
    }

    fn affixes(self) -> (&'static str, &'static str) {
        match self {
            Self::Strong => ("\"", "\""),
            Self::Weak => ("W/\"", "\""),
            Self::Bare => ("", ""),
        }
    }
}

/// Returns the tag of the encoded form of a response with this tag; `None` if no encoded form can have one.
pub(super) fn of(tag: &HeaderValue, coding: ContentCoding) -> Option<HeaderValue> {
    let (opaque, spelling) = parse(tag.as_bytes().trim_ascii())?;
    let parts = [
        b"W/\"",
        opaque,
        b";",
        coding.name().as_bytes(),
        spelling.suffix().as_bytes(),
    ];
    HeaderValue::from_maybe_shared(Bytes::from(parts.concat())).ok()
}

/// Returns the app's own tag and the coding of one of the router's tags; `None` for any other tag.
pub(super) fn own(tag: &[u8]) -> Option<(ContentCoding, Vec<u8>)> {
    let text = tag.strip_prefix(b"W/\"")?;
    let (opaque, spelling) = TagSpelling::ALL.into_iter().rev().find_map(|spelling| {
        let opaque = text.strip_suffix(spelling.suffix().as_bytes())?;
        Some((opaque, spelling))
    })?;
    let (opaque, coding) = ContentCoding::ALL.into_iter().find_map(|coding| {
        let opaque = opaque.strip_suffix(coding.name().as_bytes())?;
        Some((opaque.strip_suffix(b";")?, coding))
    })?;
    let (before, after) = spelling.affixes();
    Some((
        coding,
        [before.as_bytes(), opaque, after.as_bytes()].concat(),
    ))
}

/// Replaces the router's tags in a list by the app's own ones, where `replaced` holds for their coding. Returns `None` if
/// that changes none.
pub(super) fn own_list(
    list: &HeaderValue,
    replaced: impl Fn(ContentCoding) -> bool,
) -> Option<HeaderValue> {
    memchr::memchr(b';', list.as_bytes())?;
    let (mut out, mut changed) = (Vec::with_capacity(list.len()), false);
    for member in EntityTag::list(list.as_bytes()).map(EntityTag::as_bytes) {
        if !out.is_empty() {
            out.extend_from_slice(b", ");
        }
        match own(member).filter(|(coding, _)| replaced(*coding)) {
            Some((_, tag)) => {
                changed = true;
                out.extend(tag);
            }
            None => out.extend_from_slice(member),
        }
    }
    let own = HeaderValue::from_maybe_shared(Bytes::from(out)).ok();
    own.filter(|_| changed)
}

/// Splits a tag into its text and its spelling.
fn parse(tag: &[u8]) -> Option<(&[u8], TagSpelling)> {
    let quoted = |tag: &[u8]| {
        let inner = tag.len().checked_sub(1).and_then(|end| tag.get(1..end));
        tag.starts_with(b"\"") && tag.ends_with(b"\"") && inner.is_some()
    };
    let (opaque, spelling) = match tag.strip_prefix(b"W/") {
        _ if quoted(tag) => (&tag[1..tag.len() - 1], TagSpelling::Strong),
        Some(weak) if quoted(weak) => (&weak[1..weak.len() - 1], TagSpelling::Weak),
        _ => (tag, TagSpelling::Bare),
    };
    // Bytes that a quoted tag cannot have (RFC 9110 section 8.8.3), and a comma, at which clients split lists.
    let fits = |byte: &u8| *byte > b' ' && *byte != b'"' && *byte != 0x7f;
    let bare_fits = |byte: &u8| fits(byte) && *byte != b',';
    let fits = match spelling {
        TagSpelling::Bare => !opaque.is_empty() && opaque.iter().all(bare_fits),
        TagSpelling::Strong | TagSpelling::Weak => opaque.iter().all(fits),
    };
    fits.then_some((opaque, spelling))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_coding_and_spelling_has_its_own_tag() {
        let tags = [
            "\"a\"",
            "W/\"a\"",
            "a",
            "\"a;gzip\"",
            "\"a;weak\"",
            "W/\"a;gzip\"",
            "\"\"",
        ];
        let mut coded: HashSet<HeaderValue> = HashSet::new();
        for tag in tags {
            for coding in ContentCoding::ALL {
                let one = of(&HeaderValue::from_static(tag), coding).unwrap();
                assert_eq!(own(one.as_bytes()), Some((coding, tag.as_bytes().to_vec())));
                assert!(coded.insert(one), "{tag} {coding:?}");
            }
        }
        let gzip = |tag| of(&HeaderValue::from_static(tag), ContentCoding::Gzip);
        assert_eq!(gzip("\"a\"").unwrap(), "W/\"a;gzip\"");
        assert_eq!(gzip("W/\"a\"").unwrap(), "W/\"a;gzip;weak\"");
        assert_eq!(gzip("a").unwrap(), "W/\"a;gzip;bare\"");
    }

    #[test]
    fn tags_that_no_client_can_return_have_no_encoded_form() {
        for tag in [
            "", "\"", "a b", "a,b", "\"a", "W/\"a", "\"a b\"", "\"a\"b\"",
        ] {
            let coded = of(&HeaderValue::from_static(tag), ContentCoding::Gzip);
            assert_eq!(coded, None, "{tag}");
        }
    }

    #[test]
    fn lists_get_the_apps_own_tags_for_the_replaced_codings() {
        let own = |list: &'static str| {
            let gzip = |coding| coding == ContentCoding::Gzip;
            let own = own_list(&HeaderValue::from_static(list), gzip);
            own.map(|own| own.to_str().unwrap().to_owned())
        };
        assert_eq!(own("W/\"a;gzip\"").unwrap(), "\"a\"");
        let mixed = "\"x,y\" ,W/\"b\",  W/\"a;gzip;weak\", W/\"a;br\"";
        let expected = "\"x,y\", W/\"b\", W/\"a\", W/\"a;br\"";
        assert_eq!(own(mixed).unwrap(), expected);
        for other in ["\"a\"", "W/\"a\"", "W/\"a;br\"", "\"a;gzip\"", "*", ""] {
            assert_eq!(own(other), None);
        }
    }

    #[test]
    fn tags_of_apps_are_not_taken_for_the_routers() {
        for tag in [
            "\"a\"",
            "W/\"a\"",
            "\"a;gzip\"",
            "W/\"agzip\"",
            "W/\"a;deflate\"",
            "*",
            "",
        ] {
            assert_eq!(own(tag.as_bytes()), None, "{tag}");
        }
    }

    proptest! {
        #[test]
        fn every_tag_comes_back_from_every_coding(text in "(W/)?\"?[!-~]{0,12}\"?") {
            let tag = HeaderValue::from_str(&text).unwrap();
            for coding in ContentCoding::ALL {
                if let Some(coded) = of(&tag, coding) {
                    prop_assert_eq!(own(coded.as_bytes()), Some((coding, text.clone().into_bytes())));
                }
            }
        }
    }
}

//! Resolution of URL references in a response's headers (RFC 3986 section 5.2), as far as invalidation needs it.

use http::header::{CONTENT_LOCATION, HeaderName, LOCATION};
use http::{HeaderMap, Uri};

/// Targets on the same host that `Location` and `Content-Location` of a response to a request for `target` name (RFC
/// 9111 section 4.4).
pub(crate) fn named(response: &HeaderMap, host: &str, target: &str) -> Vec<String> {
    let names = [LOCATION, CONTENT_LOCATION];
    names
        .iter()
        .filter_map(|name| of(response, name, host, target))
        .collect()
}

/// Target on the same host that a header names.
pub(crate) fn of(
    response: &HeaderMap,
    name: &HeaderName,
    host: &str,
    target: &str,
) -> Option<String> {
    resolve(response.get(name)?.to_str().ok()?, host, target)
}

/// Resolves a reference to its target, if that is on `host`.
fn resolve(reference: &str, host: &str, base: &str) -> Option<String> {
    let reference = reference.split('#').next().unwrap_or_default().trim();
    let path = base.split('?').next().unwrap_or_default();
    if let Some(rest) = reference.strip_prefix("//") {
        return on_host(&format!("http://{rest}"), host);
    }
    let scheme = reference.split([':', '/', '?']).next().unwrap_or_default();
    if reference[scheme.len()..].starts_with(':') {
        return on_host(reference, host);
    }
    if reference.is_empty() {
        return Some(base.to_owned());
    }
    if reference.starts_with('?') {
        return Some(format!("{path}{reference}"));
    }
    if reference.starts_with('/') {
        return Some(without_dots(reference));
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    Some(without_dots(&format!("{folder}/{reference}")))
}

fn on_host(reference: &str, host: &str) -> Option<String> {
    let uri: Uri = reference.parse().ok()?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return None;
    }
    let same = uri
        .host()
        .is_some_and(|named| named.eq_ignore_ascii_case(host));
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    same.then(|| without_dots(target))
}

/// Removes `.` and `..` from a target's path.
fn without_dots(target: &str) -> String {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    if !path.contains("/.") {
        return target.to_owned();
    }
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        match *segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => {
                kept.push(segment);
                continue;
            }
        }
        if last {
            kept.push("");
        }
    }
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_references_on_the_same_host_are_resolved() {
        for (reference, expected) in [
            ("/x?y#z", Some("/x?y")),
            ("x", Some("/a/x")),
            ("../x", Some("/x")),
            ("./", Some("/a/")),
            ("/../../x/.", Some("/x/")),
            ("?n", Some("/a/b?n")),
            ("", Some("/a/b?c")),
            ("http://H.example:81/x", Some("/x")),
            ("https://h.example", Some("/")),
            ("//h.example/x", Some("/x")),
            ("http://other.example/x", None),
            ("//other.example/x", None),
            ("mailto:a@h.example", None),
            ("http://", None),
        ] {
            assert_eq!(
                resolve(reference, "h.example", "/a/b?c").as_deref(),
                expected,
                "{reference}"
            );
        }
    }
}

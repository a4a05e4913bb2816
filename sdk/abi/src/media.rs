//! Media types of files, and the media types that are worth compressing.

/// The media type of a file with an unknown extension.
const UNKNOWN: &str = "application/octet-stream";

/// Returns the media type of a file, by the extension of its name.
pub fn of_path(path: &str) -> &'static str {
    match mime_guess::from_path(path).first_raw() {
        // RFC 9239 renamed it.
        Some("application/javascript") => "text/javascript",
        Some(kind) => kind,
        None => UNKNOWN,
    }
}

/// Tells whether content of this media type is worth compressing; parameters of the type are ignored.
///
/// Text in all its forms is, formats with compression of their own are not. Event streams are not either, because a
/// compressor would hold back events until it has enough input.
pub fn is_compressible(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let kind = kind.as_bytes();
    let starts = |with: &str| has(kind.get(..with.len()), with);
    let ends = |with: &str| {
        has(
            kind.len().checked_sub(with.len()).map(|at| &kind[at..]),
            with,
        )
    };
    (starts("text/") && !has(Some(kind), "text/event-stream"))
        || ["+json", "+xml", "+text"].into_iter().any(ends)
        || COMPRESSIBLE.iter().any(|known| has(Some(kind), known))
}

fn has(part: Option<&[u8]>, text: &str) -> bool {
    part.is_some_and(|part| part.eq_ignore_ascii_case(text.as_bytes()))
}

/// Media types outside `text/*` that are text, or binary formats without compression of their own.
const COMPRESSIBLE: [&str; 17] = [
    "application/ecmascript",
    "application/javascript",
    "application/json",
    "application/rtf",
    "application/sql",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-sh",
    "application/xml",
    "application/xml-dtd",
    "application/yaml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/x-icon",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_the_ones_that_browsers_require() {
        for (path, kind) in [
            ("/a.css", "text/css"),
            ("/a.js", "text/javascript"),
            ("/a.mjs", "text/javascript"),
            ("/a.html", "text/html"),
            ("/robots.txt", "text/plain"),
            ("/a.json", "application/json"),
            ("/a.webmanifest", "application/manifest+json"),
            ("/a.svg", "image/svg+xml"),
            ("/a.wasm", "application/wasm"),
            ("/a.woff2", "font/woff2"),
            ("/a.avif", "image/avif"),
            ("/favicon.ico", "image/x-icon"),
            ("/A.PNG", "image/png"),
            ("/LICENSE", "application/octet-stream"),
        ] {
            assert_eq!(of_path(path), kind, "{path}");
        }
    }

    #[test]
    fn text_is_compressible_and_images_are_not() {
        for kind in [
            "text/html; charset=utf-8",
            "application/json",
            "image/svg+xml",
            "Application/LD+JSON",
            "application/wasm",
            "image/x-icon",
        ] {
            assert!(is_compressible(kind), "{kind}");
        }
        for kind in [
            "image/png",
            "font/woff2",
            "application/zip",
            "",
            "video/mp4",
            "text/event-stream",
        ] {
            assert!(!is_compressible(kind), "{kind}");
        }
    }
}

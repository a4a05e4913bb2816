//! Detection of file names that contain a digest of the content, as asset pipelines make them.

/// Returns whether a file's name contains a digest of its content, so that the content under this name never changes.
///
/// A digest is 64 or 32 hexadecimal digits (Sprockets) or 8 to 20 (Propshaft, webpack), after a dash or a dot and
/// before an extension. It must contain both letters and digits, since people use names such as `report-20240131.pdf`
/// and `logo-facade.svg`. Digests in other alphabets, such as Vite's, look like words; their files are listed in a
/// manifest instead.
pub(crate) fn has_digest(path: &str) -> bool {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let parts = name.split(['-', '.']);
    // The first part is the file's own name, the last its extension.
    let count = parts.clone().count();
    count >= 3 && parts.skip(1).take(count - 2).any(is_digest)
}

fn is_digest(part: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (8..=64).contains(&part.len())
        && part.bytes().all(hex)
        && part.bytes().any(|b| b.is_ascii_digit())
        && part.bytes().any(|b| b.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asset_pipeline_names_contain_a_digest() {
        for name in [
            "/assets/app-3f2a91bc.css",
            "/assets/application-be0f7b0e4d4c5b9a7e8c1c5d2f1a9b3e0c6d7f8a9b0c1d2e3f4a5b6c7d8e9f00.js",
            "/main.8e0d62a03f1a.chunk.js",
            "/assets/app-3f2a91bc.js.map",
            "/a-b-c-0123abcd.woff2",
        ] {
            assert!(has_digest(name), "{name}");
        }
    }

    #[test]
    fn ordinary_names_contain_no_digest() {
        for name in [
            "/report-20240131.pdf",
            "/logo-deadbeef.svg",
            "/jquery-3.7.1.min.js",
            "/3f2a91bc.css",
            "/3f2a91bc-app.css",
            "/app-3f2a91bc",
            "/app-3F2A91BC.css",
            "/assets-3f2a91bc/app.css",
            "/photo-Version2.png",
            "/app-3f2a.css",
        ] {
            assert!(!has_digest(name), "{name}");
        }
    }
}

//! Vite's manifests: which files have a digest in their names, which is in base64 and could pass for a word.

use std::collections::{BTreeMap, HashSet};

use corundum_pack::archive::{Archive, NodeId};
use serde::Deserialize;

/// Where Vite writes what it has built, beside its files.
const MANIFESTS: [&str; 2] = ["manifest.json", "manifest-assets.json"];

/// Bytes of a manifest: that of a large app has some hundred kilobytes.
const MAX_MANIFEST: usize = 4 << 20;

/// Characters of the digest in a name.
const DIGEST: usize = 8;

/// Files whose content never changes under their names.
#[derive(Default)]
pub(crate) struct Listed {
    paths: HashSet<String>,
}

/// What is built of one source.
#[derive(Deserialize)]
struct Chunk {
    file: String,
    #[serde(default)]
    css: Vec<String>,
    #[serde(default)]
    assets: Vec<String>,
}

impl Listed {
    /// Reads the manifests of a folder at `path`, if it has any. One that is not understood lists nothing.
    pub(crate) fn read(&mut self, slug: &Archive, folder: NodeId, path: &str) {
        let Some(vite) = slug.child(folder, ".vite") else {
            return;
        };
        for manifest in MANIFESTS
            .into_iter()
            .filter_map(|name| slug.child(vite, name))
        {
            let content = slug.content(manifest);
            if content.len() > MAX_MANIFEST {
                continue;
            }
            let chunks: BTreeMap<String, Chunk> =
                serde_json::from_slice(content).unwrap_or_default();
            let files = chunks.into_values().flat_map(|chunk| {
                std::iter::once(chunk.file)
                    .chain(chunk.css)
                    .chain(chunk.assets)
            });
            let digested = files.filter(|file| has_digest(file));
            self.paths
                .extend(digested.map(|file| format!("{path}/{file}")));
        }
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.paths.contains(path)
    }
}

/// Whether a listed name has a digest: an app may have told Vite to leave it out.
fn has_digest(file: &str) -> bool {
    let name = file.rsplit_once('/').map_or(file, |(_, name)| name);
    let Some((stem, _)) = name.rsplit_once('.') else {
        return false;
    };
    let Some((_, digest)) = stem
        .len()
        .checked_sub(DIGEST)
        .and_then(|at| stem.split_at_checked(at))
    else {
        return false;
    };
    let before = &stem[..stem.len() - DIGEST];
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    before.ends_with(['-', '.'])
        && digest.bytes().all(alphabet)
        && digest.bytes().any(|b| !b.is_ascii_lowercase() && b != b'-')
}

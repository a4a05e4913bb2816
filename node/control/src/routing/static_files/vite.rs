//! Vite's manifests: the files that have a digest in their names. The digest is base64, so a name alone does not show it.

use std::collections::{BTreeMap, HashSet};

use corundum_pack::archive::{Archive, NodeId};
use serde::Deserialize;

/// The manifest files that Vite writes into `.vite`.
const MANIFESTS: [&str; 2] = ["manifest.json", "manifest-assets.json"];

/// Bytes of a manifest. The manifest of a large app has some hundred kilobytes.
const MAX_MANIFEST: usize = 4 << 20;

/// Characters of the digest in a name.
const DIGEST: usize = 8;

/// The files that manifests list, whose content never changes under their names.
#[derive(Default)]
pub(crate) struct ViteManifests {
    paths: HashSet<String>,
}

/// The output files of one source.
#[derive(Deserialize)]
struct ViteChunk {
    file: String,
    #[serde(default)]
    css: Vec<String>,
    #[serde(default)]
    assets: Vec<String>,
}

impl ViteManifests {
    /// Reads the manifests of a folder at `path`, if it has any. An invalid manifest lists no files.
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
            let chunks: BTreeMap<String, ViteChunk> =
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

/// Returns whether a listed name has a digest, which an app can tell Vite to leave out.
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

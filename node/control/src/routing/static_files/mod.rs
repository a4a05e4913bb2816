//! The files of an app's `public/` folder, prepared for the router as slices of the mapped slug, without copies.

mod vite;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use corundum_abi::names::AppName;
use corundum_compiler::assets::{ENCODED, PUBLIC, StaticFileMode, StaticFileOptions};
use corundum_host::slug::OpenSlugError;
use corundum_pack::archive::{Archive, ArchiveNode, NodeId, resolve_from};
use corundum_router::files::{PathMatching, StaticFileSettings, StaticFileSource, StaticFiles};
use corundum_router::semantics::accept_encoding::ContentCoding;
use corundum_store::{ReleaseRecord, Store, StoreError};

use self::vite::ViteManifests;
use crate::data_dir::DataDir;

/// The most symbolic links that are followed in a row.
const MAX_LINKS: usize = 8;

/// The only folder with a leading dot whose files are served (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// Returns the files of a slug that the router serves without a dyno, if it has any.
pub(crate) fn of_slug(
    slug: &Arc<Archive>,
    serving: StaticFileOptions,
    modified: SystemTime,
) -> Option<Arc<StaticFiles>> {
    let paths = match serving.serve {
        StaticFileMode::None => return None,
        StaticFileMode::Files => PathMatching::Exact,
        StaticFileMode::Pages => PathMatching::Pages,
    };
    let settings = StaticFileSettings {
        modified,
        max_age: Duration::from_secs(serving.max_age.into()),
        paths,
    };
    let files = PublicFolder::new(slug).sources();
    (!files.is_empty()).then(|| Arc::new(StaticFiles::new(files, &settings)))
}

/// Returns the static files of a release of the store. The slug's digest is not checked: that happens when the release
/// is loaded.
///
/// # Errors
///
/// [`StaticFilesError`].
pub(crate) fn of_release(
    store: &dyn Store,
    data: &DataDir,
    app: &AppName,
    release: &ReleaseRecord,
) -> Result<Option<Arc<StaticFiles>>, StaticFilesError> {
    let slug = data.open_slug(&data.slug(&release.slug), &release.slug, false)?;
    let since = served_since(store, app, release)?;
    Ok(of_slug(&slug, release.about.static_files, since))
}

/// Returns the time since which an app has served the slug of a release. Releases that only changed config vars do not
/// count.
///
/// # Errors
///
/// [`StaticFilesError`].
pub(crate) fn served_since(
    store: &dyn Store,
    app: &AppName,
    release: &ReleaseRecord,
) -> Result<SystemTime, StaticFilesError> {
    let version = release.version;
    // An earlier record that is damaged does not keep this release from being served, with a later time.
    let earlier = store.releases(app).unwrap_or_else(|error| {
        tracing::warn!(%app, %error, "could not read earlier releases");
        Vec::new()
    });
    let earlier = earlier.into_iter();
    let earlier = earlier.skip_while(|other| version.0 != 0 && other.version >= version);
    let since = earlier
        .take_while(|other| other.slug == release.slug)
        .last();
    let since = since.map_or_else(|| release.created_at.clone(), |first| first.created_at);
    Ok(since.parse::<jiff::Timestamp>()?.into())
}

/// Static files that cannot be found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StaticFilesError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The slug cannot be opened.
    #[error(transparent)]
    Slug(#[from] OpenSlugError),
    /// The store holds an invalid timestamp.
    #[error("release: invalid timestamp: {0}")]
    Timestamp(#[from] jiff::Error),
}

/// A slug's public folder.
struct PublicFolder<'a> {
    slug: &'a Archive,
    /// The whole slug, of which served files are slices.
    bytes: Bytes,
    listed: ViteManifests,
}

impl<'a> PublicFolder<'a> {
    fn new(slug: &'a Arc<Archive>) -> Self {
        struct Whole(Arc<Archive>);
        impl AsRef<[u8]> for Whole {
            fn as_ref(&self) -> &[u8] {
                (*self.0).as_ref()
            }
        }
        Self {
            slug,
            bytes: Bytes::from_owner(Whole(slug.clone())),
            listed: ViteManifests::default(),
        }
    }

    fn sources(mut self) -> Vec<StaticFileSource> {
        let Some(root) = self.slug.lookup(PUBLIC) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut folders = vec![(root, String::new())];
        while let Some((folder, path)) = folders.pop() {
            self.listed.read(self.slug, folder, &path);
            let ArchiveNode::Directory { entries } = self.slug.node(folder) else {
                continue;
            };
            for (name, node) in entries {
                let path = format!("{path}/{name}");
                let hidden = name.starts_with('.') && path != format!("/{WELL_KNOWN}");
                match self.slug.node(*node) {
                    _ if hidden => {}
                    ArchiveNode::Directory { .. } => folders.push((*node, path)),
                    ArchiveNode::File { .. } | ArchiveNode::Symlink { .. } => {
                        found.push((*node, path))
                    }
                }
            }
        }
        found
            .into_iter()
            .filter_map(|(node, path)| self.source(node, path))
            .collect()
    }

    fn source(&self, node: NodeId, path: String) -> Option<StaticFileSource> {
        let (node, within) = self.follow(node, path.clone())?;
        let encoded = ContentCoding::ALL.into_iter().filter_map(|coding| {
            let form = self
                .slug
                .lookup(&format!("{ENCODED}/{}{within}", coding.name()))?;
            Some((coding, self.content(form)?))
        });
        Some(StaticFileSource {
            content: self.content(node)?,
            encoded: encoded.collect(),
            immutable: self.listed.has(&path),
            path,
        })
    }

    /// Follows symbolic links and returns the file with its path. A link out of the public folder is not followed, so that
    /// it exposes no other file of the app.
    fn follow(&self, mut node: NodeId, mut path: String) -> Option<(NodeId, String)> {
        for _ in 0..MAX_LINKS {
            let ArchiveNode::Symlink { target } = self.slug.node(node) else {
                return Some((node, path));
            };
            path = joined(&path, target)?;
            node = self.slug.lookup(&format!("{PUBLIC}{path}"))?;
        }
        None
    }

    fn content(&self, node: NodeId) -> Option<Bytes> {
        match self.slug.node(node) {
            ArchiveNode::File { range, .. } => Some(self.bytes.slice(range.clone())),
            _ => None,
        }
    }
}

/// Returns the path of a link's target within the folder, unless it leaves the folder or is hidden.
fn joined(path: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').skip(1).collect();
    parts.pop();
    let parts = resolve_from(parts, target)?;
    let hidden = parts
        .iter()
        .skip(usize::from(parts.first() == Some(&WELL_KNOWN)));
    if hidden.into_iter().any(|part| part.starts_with('.')) {
        return None;
    }
    Some(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use corundum_pack::archive::{ArchiveWriter, FileMode};

    use super::*;

    enum TestEntry {
        File(&'static str),
        Link(&'static str),
    }
    use TestEntry::{File, Link};

    fn sources(entries: &[(&str, TestEntry)]) -> Vec<StaticFileSource> {
        let mut writer = ArchiveWriter::new(Vec::new());
        for (path, entry) in entries {
            match entry {
                File(text) => {
                    let (content, length) = (text.as_bytes(), text.len() as u64);
                    writer
                        .add_file(path, content, length, FileMode::Plain)
                        .unwrap();
                }
                Link(target) => writer.add_symlink(path, target).unwrap(),
            }
        }
        let slug = Arc::new(Archive::new(writer.finish().unwrap().output).unwrap());
        let mut sources = PublicFolder::new(&slug).sources();
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        sources
    }

    fn paths(sources: &[StaticFileSource]) -> Vec<&str> {
        sources.iter().map(|source| source.path.as_str()).collect()
    }

    #[test]
    fn hidden_and_private_files_are_not_served() {
        let sources = sources(&[
            ("config.ru", File("secret")),
            ("public/.env", File("secret")),
            ("public/.git/config", File("secret")),
            ("public/.well-known/security.txt", File("contact")),
            ("public/a/.well-known/x", File("hidden")),
            ("public/a/b.css", File("css")),
            ("public/robots.txt", File("robots")),
        ]);
        assert_eq!(
            paths(&sources),
            ["/.well-known/security.txt", "/a/b.css", "/robots.txt"]
        );
        assert_eq!(&sources[1].content[..], b"css");
    }

    #[test]
    fn links_are_followed_to_public_files_only() {
        let sources = sources(&[
            ("public/a/current.css", Link("../b/v2.css")),
            ("public/a/hidden", Link("../.env")),
            ("public/a/loop", Link("loop")),
            ("public/a/missing", Link("nothing")),
            ("public/a/out", Link("../../secret")),
            ("public/a/through", Link("current.css")),
            ("public/b/v2.css", File("v2")),
            ("secret", File("secret")),
        ]);
        assert_eq!(
            paths(&sources),
            ["/a/current.css", "/a/through", "/b/v2.css"]
        );
        assert!(sources.iter().all(|source| &source.content[..] == b"v2"));
    }

    #[test]
    fn encoded_variants_are_found_and_files_of_vite_manifests_are_immutable() {
        let manifest = r#"{"app.js": {"file": "assets/index-BvXy12_k.js", "css": ["assets/settings-settings.css"]}}"#;
        let sources = sources(&[
            (
                ".corundum/static/br/vite/assets/index-BvXy12_k.js",
                File("br"),
            ),
            (
                ".corundum/static/gzip/vite/assets/index-BvXy12_k.js",
                File("gz"),
            ),
            ("public/vite/.vite/manifest.json", File(manifest)),
            ("public/vite/assets/index-BvXy12_k.js", File("js")),
            ("public/vite/assets/other-BvXy12_k.js", File("js")),
            ("public/vite/assets/settings-settings.css", File("css")),
        ]);
        let immutable: Vec<bool> = sources.iter().map(|source| source.immutable).collect();
        assert_eq!(immutable, [true, false, false], "{:?}", paths(&sources));
        let forms = [
            (ContentCoding::Brotli, Bytes::from("br")),
            (ContentCoding::Gzip, Bytes::from("gz")),
        ];
        assert_eq!(sources[0].encoded, forms);
    }
}

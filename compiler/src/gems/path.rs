//! Gems that are folders of the app, as `path:` in the Gemfile names them.

use super::GemError;
use crate::tree::Tree;

/// Where the gem `name` of the source `path` lies in the app; empty for the app's own root. Bundler looks for its
/// gemspec in the folder and up to two below it.
pub(super) fn find(tree: &Tree, name: &str, path: &str) -> Result<String, GemError> {
    let outside = || GemError::Path {
        name: name.to_owned(),
        path: path.to_owned(),
    };
    let root = normal(path).ok_or_else(outside)?;
    let gemspec = format!("{name}.gemspec");
    let inside = |entry: &str| {
        let rest = if root.is_empty() {
            entry
        } else {
            entry.strip_prefix(&root)?.strip_prefix('/')?
        };
        Some(rest.to_owned())
    };
    let inside: Vec<String> = tree
        .entries()
        .filter_map(|(entry, _)| inside(entry))
        .collect();
    if inside.is_empty() && !tree.has_link(&root) {
        return Err(GemError::PathMissing {
            name: name.to_owned(),
            path: path.to_owned(),
        });
    }
    let folders = inside.iter().filter_map(|file| file.strip_suffix(&gemspec));
    let folders = folders.filter(|folder| folder.is_empty() || folder.ends_with('/'));
    let nearest = folders
        .filter(|folder| folder.matches('/').count() <= 2)
        .min_by_key(|folder| folder.matches('/').count());
    let below = nearest.unwrap_or("").trim_end_matches('/');
    let parts = [root.as_str(), below];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    Ok(parts.collect::<Vec<_>>().join("/"))
}

/// A relative path without `.` and `..`; none if it leads out of the app.
fn normal(path: &str) -> Option<String> {
    if path.starts_with(['/', '~']) || path.contains(['\\', '\0']) {
        return None;
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use corundum_pack::archive::FileMode;

    use super::*;

    fn tree(files: &[&str]) -> Tree {
        let mut tree = Tree::read(
            tar::Builder::new(Vec::new())
                .into_inner()
                .unwrap()
                .as_slice(),
            1 << 20,
        )
        .unwrap();
        for file in files {
            tree.add(file, b"", FileMode::Plain).unwrap();
        }
        tree
    }

    #[test]
    fn a_gem_is_found_where_its_gemspec_is() {
        let tree = tree(&[
            "shop.gemspec",
            "engines/blog/blog.gemspec",
            "engines/a/b/wiki.gemspec",
            "plain/lib/plain.rb",
        ]);
        for (name, path, found) in [
            ("shop", ".", ""),
            ("blog", "engines/blog", "engines/blog"),
            ("blog", "./engines/../engines/", "engines/blog"),
            ("wiki", "engines", "engines/a/b"),
            ("plain", "plain", "plain"),
        ] {
            assert_eq!(find(&tree, name, path).unwrap(), found, "{path}");
        }
    }

    #[test]
    fn a_path_that_leaves_the_app_is_refused() {
        let tree = tree(&["a/b"]);
        for out in ["../x", "/usr/lib", "a/../../b", "~/x", "a/\\..\\.."] {
            assert!(
                matches!(find(&tree, "x", out), Err(GemError::Path { .. })),
                "{out}"
            );
        }
        assert!(matches!(
            find(&tree, "x", "c"),
            Err(GemError::PathMissing { .. })
        ));
    }
}

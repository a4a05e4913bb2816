//! Gems in folders of the app, which the Gemfile names by `path:`.

use corundum_pack::archive::resolve_from;

use super::error::GemError;
use crate::tree::Tree;

/// Finds the folder of the gem `name` below the source `path`. An empty string means the app's root.
///
/// As Bundler does, it looks for the gemspec in `path` and in folders up to two levels below.
pub(super) fn find(tree: &Tree, name: &str, path: &str) -> Result<String, GemError> {
    let outside = || GemError::PathOutside {
        name: name.to_owned(),
        path: path.to_owned(),
    };
    let root = normalized(path).ok_or_else(outside)?;
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

/// Removes `.` and `..` from a relative path. Returns none if the path leads out of the app.
fn normalized(path: &str) -> Option<String> {
    if path.starts_with(['/', '~']) || path.contains(['\\', '\0']) {
        return None;
    }
    Some(resolve_from(Vec::new(), path)?.join("/"))
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
    fn gem_is_found_by_its_gemspec() {
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
    fn path_out_of_the_app_is_rejected() {
        let tree = tree(&["a/b"]);
        for out in ["../x", "/usr/lib", "a/../../b", "~/x", "a/\\..\\.."] {
            assert!(
                matches!(find(&tree, "x", out), Err(GemError::PathOutside { .. })),
                "{out}"
            );
        }
        assert!(matches!(
            find(&tree, "x", "c"),
            Err(GemError::PathMissing { .. })
        ));
    }
}

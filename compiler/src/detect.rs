//! Detection of an app's language and framework.

/// A tree without a Ruby app. The pusher may have pushed the wrong folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no app detected: a Ruby app has a Gemfile or a config.ru in the root of its repository\nIf the app is in a folder, push that folder: git subtree push --prefix FOLDER corundum main"
)]
pub struct NotDetected;

/// Checks that a tree is a Ruby app: it has a Gemfile, as on Heroku, or at least a `config.ru`.
///
/// # Errors
///
/// [`NotDetected`].
pub fn detect(has_file: impl Fn(&str) -> bool) -> Result<(), NotDetected> {
    if has_file("Gemfile") || has_file("config.ru") {
        Ok(())
    } else {
        Err(NotDetected)
    }
}

/// Returns whether a lockfile is that of a Rails app. Every one has the gem railties.
pub fn is_rails(lockfile: &str) -> bool {
    locks(lockfile, "railties")
}

/// Returns whether a lockfile has a gem.
pub fn locks(lockfile: &str, gem: &str) -> bool {
    let start = format!("    {gem} (");
    lockfile.lines().any(|line| line.starts_with(&start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_without_gemfile_and_config_ru_is_rejected() {
        assert_eq!(detect(|path| path == "config.ru"), Ok(()));
        assert_eq!(detect(|_| false), Err(NotDetected));
    }
}

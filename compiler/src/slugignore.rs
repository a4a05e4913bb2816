//! `.slugignore`: what of an app's tree a slug leaves out. The patterns are git's, without negation, as Heroku has it.

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The file's name.
pub const FILE: &str = ".slugignore";

/// A `.slugignore` that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(".slugignore line {line}: {text:?} is {reason}")]
pub struct SlugignoreError {
    /// From 1.
    line: usize,
    /// The pattern.
    text: String,
    /// What is wrong with it.
    reason: String,
}

/// Patterns of paths that are left out.
#[derive(Debug)]
pub struct Slugignore(Gitignore);

impl Slugignore {
    /// Reads the file's text.
    ///
    /// # Errors
    ///
    /// [`SlugignoreError`].
    pub fn parse(text: &str) -> Result<Self, SlugignoreError> {
        let mut builder = GitignoreBuilder::new("");
        for (line, pattern) in (1..).zip(text.lines()) {
            let bad = |reason: String| SlugignoreError {
                line,
                text: pattern.to_owned(),
                reason,
            };
            if pattern.starts_with('!') {
                let reason =
                    "a negation, which .slugignore does not have: name only what to leave out";
                return Err(bad(reason.to_owned()));
            }
            builder
                .add_line(None, pattern)
                .map_err(|error| bad(format!("no pattern ({error})")))?;
        }
        let built = builder.build();
        let patterns = built.map_err(|error| SlugignoreError {
            line: 0,
            text: String::new(),
            reason: error.to_string(),
        })?;
        Ok(Self(patterns))
    }

    /// Whether the file or link at `path` is left out, by itself or with a directory above it.
    pub fn excludes(&self, path: &str) -> bool {
        self.0.matched_path_or_any_parents(path, false).is_ignore()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_gits() {
        let ignore =
            Slugignore::parse("# notes\n\n*.psd\n/docs\ntest/\nfixtures/**/big\n").unwrap();
        for path in [
            "a.psd",
            "x/y.psd",
            "docs/a/b",
            "test/a",
            "lib/test/b",
            "fixtures/a/b/big",
        ] {
            assert!(ignore.excludes(path), "{path}");
        }
        for path in [
            "lib/docs/a",
            "test",
            "app.rb",
            "fixtures/a/small",
            "# notes",
        ] {
            assert!(!ignore.excludes(path), "{path}");
        }
    }

    #[test]
    fn a_negation_and_a_broken_pattern_are_named_by_line() {
        let error = Slugignore::parse("a\n!b\n").unwrap_err();
        assert!(
            error.to_string().starts_with(".slugignore line 2: \"!b\""),
            "{error}"
        );
        assert!(Slugignore::parse("{a\n").is_err());
    }
}

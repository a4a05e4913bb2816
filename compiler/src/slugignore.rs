//! Parser of `.slugignore`, which excludes files of the tree from the slug.
//!
//! The patterns are those of `.gitignore` without negation, as on Heroku.

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// Name of the file.
pub const FILE: &str = ".slugignore";

/// Lines of the file. Each pattern becomes a part of one regular expression, which takes some kilobytes for it.
const MAX_LINES: usize = 2000;

/// A `.slugignore` that cannot be parsed. The app's author corrects it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(".slugignore line {line}: {text:?} is {reason}")]
pub struct SlugignoreError {
    /// Line number, from 1.
    line: usize,
    /// Text of the line.
    text: String,
    /// Reason, as a noun phrase.
    reason: String,
}

/// Patterns of excluded paths.
#[derive(Debug)]
pub struct Slugignore(Gitignore);

impl Slugignore {
    /// Parses the text of the file.
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
            if line > MAX_LINES {
                return Err(bad(format!(
                    "a line too many; write at most {MAX_LINES}, for example directories in place of files"
                )));
            }
            if pattern.starts_with('!') {
                let reason =
                    "a negation, which .slugignore does not support; name only files to exclude";
                return Err(bad(reason.to_owned()));
            }
            builder
                .add_line(None, pattern)
                .map_err(|error| bad(format!("not a pattern ({error})")))?;
        }
        let built = builder.build();
        let patterns = built.map_err(|error| SlugignoreError {
            line: 0,
            text: String::new(),
            reason: error.to_string(),
        })?;
        Ok(Self(patterns))
    }

    /// Returns whether the slug excludes the file or link at `path`, or a directory above it.
    pub fn excludes(&self, path: &str) -> bool {
        self.0.matched_path_or_any_parents(path, false).is_ignore()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_follow_gitignore() {
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
    fn negation_and_invalid_pattern_are_reported_with_their_line() {
        let error = Slugignore::parse("a\n!b\n").unwrap_err();
        assert!(
            error.to_string().starts_with(".slugignore line 2: \"!b\""),
            "{error}"
        );
        assert!(Slugignore::parse("{a\n").is_err());
    }

    #[test]
    fn number_of_lines_is_limited() {
        let lines = |count| {
            let lines = (0..count).map(|index| format!("/[a-c]x/*.{index}?\n"));
            Slugignore::parse(&lines.collect::<String>())
        };
        assert!(lines(MAX_LINES).unwrap().excludes("bx/y.1999z"));
        let error = lines(MAX_LINES + 1).unwrap_err().to_string();
        assert!(
            error.contains("line 2001") && error.contains("a line too many"),
            "{error}"
        );
    }
}

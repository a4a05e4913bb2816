//! Parser of the compact index of gem servers: `GET /info/NAME` returns a text with a line for each version of the gem.
//!
//! After a line `---` come lines such as
//! `2.2.22 DEPENDENCY:REQUIREMENT&REQUIREMENT|checksum:SHA256,ruby:REQUIREMENT,rubygems:REQUIREMENT`. The version of a
//! precompiled build ends in `-PLATFORM`.

use crate::checksum::Checksum;

/// An index that cannot be parsed. The gem server is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum IndexError {
    /// The line `---` is missing, so the text is probably not an index.
    #[error("it has no line of three dashes")]
    Head,
    /// The line of the wanted version has no valid checksum.
    #[error("its line {0} has no SHA-256 checksum")]
    Checksum(usize),
}

/// Availability of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum IndexEntry {
    /// The plain form is available and has this checksum.
    Plain(Checksum),
    /// Only precompiled builds for these platforms are available.
    Precompiled(Vec<String>),
    /// The version was yanked or never published.
    Absent,
}

/// Finds `version` in the text of an index.
pub(super) fn find(index: &str, version: &str) -> Result<IndexEntry, IndexError> {
    let mut lines = (1..).zip(index.lines());
    if !lines.any(|(_, line)| line.trim_end() == "---") {
        return Err(IndexError::Head);
    }
    let mut platforms = Vec::new();
    for (number, line) in lines {
        let (label, rest) = line.split_once(' ').unwrap_or((line, ""));
        let Some(platform) = label.strip_prefix(version) else {
            continue;
        };
        if let Some(platform) = platform.strip_prefix('-') {
            platforms.push(platform.chars().take(40).collect());
        } else if platform.is_empty() {
            let checksum = checksum(rest).ok_or(IndexError::Checksum(number))?;
            return Ok(IndexEntry::Plain(checksum));
        }
    }
    Ok(if platforms.is_empty() {
        IndexEntry::Absent
    } else {
        IndexEntry::Precompiled(platforms)
    })
}

/// Returns the versions in the text of an index whose plain form is available.
pub(super) fn versions(index: &str) -> Result<Vec<&str>, IndexError> {
    let mut lines = index.lines();
    if !lines.any(|line| line.trim_end() == "---") {
        return Err(IndexError::Head);
    }
    let labels = lines.map(|line| line.split_once(' ').map_or(line, |(label, _)| label));
    Ok(labels.filter(|label| !label.contains('-')).collect())
}

/// Reads the checksum from `DEPENDENCIES|checksum:SHA256,ruby:…`.
fn checksum(rest: &str) -> Option<Checksum> {
    let (_, facts) = rest.rsplit_once('|')?;
    let mut facts = facts.split(',');
    let digest = facts.find_map(|fact| fact.trim().strip_prefix("checksum:"))?;
    digest.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    fn index() -> String {
        let (a, b, c) = (digest('a'), digest('b'), digest('c'));
        format!(
            "created_at: 2026-01-01T00:00:00Z\n---\n1.0 |checksum:{a}\n1.0.1 rack:>= 2.2.4&< 4,tilt:~> 2.0|checksum:{b},ruby:>= 2.7&< 4.1,rubygems:> 1.3.1\n1.0.1-java jar:>= 0|checksum:{c}\n2.0-x86_64-linux |checksum:{a}\n2.0-arm64-darwin |checksum:{b}\n3.0.0.pre.1 |ruby:>= 3\n3.1 |checksum:abcd\n"
        )
    }

    #[test]
    fn version_is_found_with_its_checksum() {
        for (version, digit) in [("1.0", 'a'), ("1.0.1", 'b')] {
            let expected = IndexEntry::Plain(digest(digit).parse().unwrap());
            assert_eq!(find(&index(), version), Ok(expected));
            assert_eq!(
                find(&index().replace('\n', "\r\n"), version),
                find(&index(), version)
            );
        }
    }

    #[test]
    fn absent_and_precompiled_versions_are_distinguished() {
        let platforms = ["x86_64-linux", "arm64-darwin"].map(str::to_owned);
        let expected = IndexEntry::Precompiled(platforms.to_vec());
        assert_eq!(find(&index(), "2.0"), Ok(expected));
        for absent in ["2", "1.0.10", "1.0.1-java2"] {
            assert_eq!(find(&index(), absent), Ok(IndexEntry::Absent), "{absent}");
        }
    }

    #[test]
    fn versions_are_those_with_a_plain_form() {
        let expected = ["1.0", "1.0.1", "3.0.0.pre.1", "3.1"];
        assert_eq!(versions(&index()).unwrap(), expected);
        assert_eq!(versions("<html>"), Err(IndexError::Head));
    }

    #[test]
    fn invalid_index_is_rejected() {
        assert_eq!(find("<html>", "1.0"), Err(IndexError::Head));
        assert_eq!(find(&index(), "3.0.0.pre.1"), Err(IndexError::Checksum(8)));
        assert_eq!(find(&index(), "3.1"), Err(IndexError::Checksum(9)));
    }

    proptest! {
        #[test]
        fn arbitrary_text_does_not_panic(text in "(---\n)?([0-9a-z.:|,&<>=~ -]{0,40}\n){0,12}", version in "[0-9.a]{1,4}") {
            let _ = find(&text, &version);
        }

        #[test]
        fn only_listed_versions_are_found(
            versions in proptest::collection::btree_map("[0-9]{1,2}(\\.[0-9]{1,2}){0,3}(\\.pre\\.[0-9])?", any::<[u8; 4]>(), 1..20),
            dependencies in "([a-z_-]{1,8}:>= [0-9.]{1,5}(&< [0-9.]{1,5})?(,[a-z-]{1,8}:= [0-9.]{1,5})?)?",
            other in "[0-9]{1,2}(\\.[0-9]{1,2}){0,3}",
        ) {
            let line = |(version, seed): (&String, &[u8; 4])| {
                format!("{version} {dependencies}|checksum:{},ruby:>= 2.0\n", Checksum::of(seed))
            };
            let text: String = versions.iter().map(line).collect();
            let text = format!("---\n{text}");
            for (version, seed) in &versions {
                prop_assert_eq!(find(&text, version), Ok(IndexEntry::Plain(Checksum::of(seed))));
            }
            if !versions.contains_key(&other) {
                prop_assert_eq!(find(&text, &other), Ok(IndexEntry::Absent));
            }
        }
    }
}

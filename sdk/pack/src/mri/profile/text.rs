//! The text form of LLVM's profiles, limited to counters and values of instrumented C.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::str::FromStr;

use super::{FunctionCounts, FunctionKey, MriProfile, ProfileError};

/// Comment in the first line, before the origin of the counts.
const ORIGIN: &str = "# recorded from ";
/// Line that declares counters of instrumented intermediate code.
const KIND: &str = ":ir";
/// Numbers of the kinds of values.
const TARGETS: u32 = 0;
const SIZES: u32 = 1;

/// Returns the text of a profile.
pub(super) fn write(profile: &MriProfile) -> String {
    let mut text = format!("{ORIGIN}{}\n{KIND}\n", profile.origin);
    for (key, counts) in &profile.functions {
        let FunctionCounts {
            counters,
            targets,
            sizes,
        } = counts;
        line(&mut text, &key.name);
        line(&mut text, key.hash);
        line(&mut text, counters.len());
        counters.iter().for_each(|count| line(&mut text, count));
        let (has_targets, has_sizes) = (!targets.is_empty(), !sizes.is_empty());
        if has_targets || has_sizes {
            line(&mut text, u8::from(has_targets) + u8::from(has_sizes));
        }
        if has_targets {
            write_values(&mut text, TARGETS, targets);
        }
        if has_sizes {
            write_values(&mut text, SIZES, sizes);
        }
        text.push('\n');
    }
    text
}

fn line(text: &mut String, word: impl Display) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{word}");
}

fn write_values<V: Display>(text: &mut String, kind: u32, sites: &[BTreeMap<V, u64>]) {
    line(text, kind);
    line(text, sites.len());
    for site in sites {
        line(text, site.len());
        for (value, count) in site {
            line(text, format_args!("{value}:{count}"));
        }
    }
}

/// Reads the text of a profile.
pub(super) fn read(text: &str) -> Result<MriProfile, ProfileError> {
    let mut lines = TextLines {
        lines: text.lines(),
        number: 0,
    };
    let origin = lines.next()?.strip_prefix(ORIGIN);
    let mut profile = MriProfile::new(origin.ok_or(ProfileError::Text(1))?.to_owned());
    if lines.next()? != KIND {
        return Err(ProfileError::Text(lines.number));
    }
    while let Some(name) = lines.next_if_any() {
        let key = FunctionKey {
            name: name.to_owned(),
            hash: lines.number()?,
        };
        let mut counts = FunctionCounts::default();
        for _ in 0..lines.number()? {
            counts.counters.push(lines.number()?);
        }
        let mut next = lines.next()?;
        if !next.is_empty() {
            let kinds: u32 = next.parse().map_err(|_| ProfileError::Text(lines.number))?;
            for _ in 0..kinds {
                match lines.number()? {
                    TARGETS => counts.targets = lines.values()?,
                    SIZES => counts.sizes = lines.values()?,
                    _ => return Err(ProfileError::Text(lines.number)),
                }
            }
            next = lines.next()?;
        }
        if !next.is_empty() || profile.functions.insert(key, counts).is_some() {
            return Err(ProfileError::Text(lines.number));
        }
    }
    Ok(profile)
}

/// Lines that have not been read, and the number of those that have.
struct TextLines<'a> {
    lines: std::str::Lines<'a>,
    number: usize,
}

impl<'a> TextLines<'a> {
    fn next_if_any(&mut self) -> Option<&'a str> {
        self.number += 1;
        self.lines.next()
    }

    fn next(&mut self) -> Result<&'a str, ProfileError> {
        self.next_if_any().ok_or(ProfileError::Text(self.number))
    }

    fn number<N: FromStr>(&mut self) -> Result<N, ProfileError> {
        let word = self.next()?;
        word.parse().map_err(|_| ProfileError::Text(self.number))
    }

    fn values<V: FromStr + Ord>(&mut self) -> Result<Vec<BTreeMap<V, u64>>, ProfileError> {
        let sites: usize = self.number()?;
        let mut found = Vec::new();
        for _ in 0..sites {
            let mut site = BTreeMap::new();
            for _ in 0..self.number::<usize>()? {
                let pair = self.next()?.rsplit_once(':');
                let pair = pair.and_then(|(value, count)| {
                    Some((value.parse().ok()?, count.parse::<u64>().ok()?))
                });
                let (value, count) = pair.ok_or(ProfileError::Text(self.number))?;
                site.insert(value, count);
            }
            found.push(site);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn text_has_the_form_of_llvm() {
        let text = write(&sample());
        assert!(
            text.starts_with("# recorded from a source, a compiler\n:ir\n../source/a.c;valued\n")
        );
        let values = "1311768467463790320\n1\n1000000000000\n2\n0\n2\n0\n1\n../source/a.c;called:5\n1\n1\n2\n8:3\n513:1\n\n";
        assert!(text.contains(values), "{text}");
        assert!(text.ends_with("plain\n1311768467463790320\n3\n7\n0\n3\n\n"));
    }

    #[test]
    fn damaged_text_is_rejected_with_its_line() {
        let text = write(&sample());
        for end in 1..text.lines().count() {
            let cut: String = text.lines().take(end).map(|l| format!("{l}\n")).collect();
            let complete =
                cut == "# recorded from a source, a compiler\n:ir\n" || cut.ends_with("\n\n");
            assert_eq!(read(&cut).is_ok(), complete, "{cut}");
        }
        let changed = text.replace("plain\n1311", "plain\nx1311");
        assert!(matches!(read(&changed), Err(ProfileError::Text(20))));
    }
}

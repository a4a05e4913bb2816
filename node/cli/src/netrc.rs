//! The token in `~/.netrc`, where git looks for it too.
//!
//! Everything else in the file stays byte for byte as it is: entries of other machines, the `default` entry, macros
//! (`macdef`) and comments. The format is that of ftp(1): words between white space; a macro goes on to an empty line.

use std::fs;
use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Returns the token for `machine`, if the file has one.
///
/// # Errors
///
/// The file exists and cannot be read.
pub(crate) fn token(machine: &str) -> anyhow::Result<Option<String>> {
    let Some(path) = path() else { return Ok(None) };
    Ok(password(&read(&path)?, machine))
}

/// Stores the token for `machine` in place of an earlier one.
///
/// # Errors
///
/// The file cannot be read or replaced.
pub(crate) fn set_token(machine: &str, token: &str) -> anyhow::Result<()> {
    let path = path().context("~/.netrc: HOME is not set")?;
    // A link stays a link: its target is replaced.
    let path = fs::canonicalize(&path).unwrap_or(path);
    let text = with_entry(&read(&path)?, machine, token);
    let directory = path.parent().unwrap_or(Path::new("."));
    // Only the owner may read it, as with the temporary file.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.persist(&path)
        .with_context(|| path.display().to_string())?;
    Ok(())
}

fn path() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
    Some(PathBuf::from(home).join(".netrc"))
}

fn read(path: &Path) -> anyhow::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// The kind of an item at the top level of the file.
#[derive(Debug, PartialEq, Eq)]
enum NetrcKind<'a> {
    Machine(&'a str),
    Default,
    Macro,
}

/// An item at the top level of the file.
#[derive(Debug)]
struct NetrcItem<'a> {
    kind: NetrcKind<'a>,
    /// From its first word to the end of its last, without what follows on the line.
    range: Range<usize>,
    password: Option<&'a str>,
}

/// Reads the items of a file.
fn items(text: &str) -> Vec<NetrcItem<'_>> {
    let mut items: Vec<NetrcItem<'_>> = Vec::new();
    let mut at = 0;
    while let Some(word) = word_at(text, at) {
        let name = &text[word.clone()];
        at = word.end;
        if name.starts_with('#') {
            at = text[at..].find('\n').map_or(text.len(), |end| at + end);
            continue;
        }
        let value = |at: &mut usize| {
            let value = word_at(text, *at)?;
            *at = value.end;
            Some(&text[value])
        };
        match name {
            "machine" => {
                let machine = value(&mut at).unwrap_or_default();
                items.push(NetrcItem {
                    kind: NetrcKind::Machine(machine),
                    range: word.start..at,
                    password: None,
                });
            }
            "default" => items.push(NetrcItem {
                kind: NetrcKind::Default,
                range: word,
                password: None,
            }),
            "macdef" => {
                at = text[at..].find("\n\n").map_or(text.len(), |end| at + end);
                items.push(NetrcItem {
                    kind: NetrcKind::Macro,
                    range: word.start..at,
                    password: None,
                });
            }
            field => {
                let value = value(&mut at);
                if let Some(item) = items.last_mut() {
                    item.range.end = at;
                    if field == "password" {
                        item.password = value;
                    }
                }
            }
        }
    }
    items
}

/// Returns the word that begins at or after `at`.
fn word_at(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let start = at + rest.find(|c: char| !c.is_whitespace())?;
    let length = text[start..].find(char::is_whitespace);
    Some(start..length.map_or(text.len(), |length| start + length))
}

fn password(text: &str, machine: &str) -> Option<String> {
    let mut items = items(text).into_iter();
    let item = items.find(|item| item.kind == NetrcKind::Machine(machine))?;
    item.password.map(str::to_owned)
}

/// Returns the text with one entry for `machine`: where its first one was, otherwise before `default`, which ends the
/// search of a reader, otherwise at the end.
fn with_entry(text: &str, machine: &str, token: &str) -> String {
    let entry = format!("machine {machine}\n  login corundum\n  password {token}\n");
    let items = items(text);
    let own = items
        .iter()
        .filter(|item| item.kind == NetrcKind::Machine(machine));
    let mut replaced: Vec<Range<usize>> = own.map(|item| whole_lines(text, &item.range)).collect();
    let default = items.iter().find(|item| item.kind == NetrcKind::Default);
    let at_end = replaced.is_empty() && default.is_none();
    if replaced.is_empty() {
        let place = default.map_or(text.len(), |item| item.range.start);
        replaced.push(place..place);
    }
    let mut written = String::with_capacity(text.len() + entry.len());
    let mut kept = 0;
    for (index, range) in replaced.iter().enumerate() {
        written.push_str(&text[kept..range.start]);
        kept = range.end;
        if index == 0 {
            separate(&mut written, items.last(), at_end);
            written.push_str(&entry);
        }
    }
    written.push_str(&text[kept..]);
    written
}

/// Ends the last line before an entry, and the macro that would otherwise swallow an entry at the end of the file.
fn separate(written: &mut String, last: Option<&NetrcItem<'_>>, at_end: bool) {
    if !written.is_empty() && !written.ends_with('\n') {
        written.push('\n');
    }
    let in_macro = last.is_some_and(|item| item.kind == NetrcKind::Macro);
    if at_end && in_macro && !written.ends_with("\n\n") {
        written.push('\n');
    }
}

/// Returns an item's range with the rest of its last line, if nothing else is on it.
fn whole_lines(text: &str, range: &Range<usize>) -> Range<usize> {
    let rest = &text[range.end..];
    let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\r']).len();
    let end = range.end + blank;
    match text[end..].starts_with('\n') {
        true => range.start..end + 1,
        false => range.start..end,
    }
}

#[cfg(test)]
mod tests {
    use super::{password, with_entry};

    const OURS: &str = "machine a\n  login corundum\n  password new\n";

    #[test]
    fn entries_of_other_machines_and_comments_are_kept() {
        let text = "machine a\n  login x\n  password y\nmachine b login z password w\n# end\n";
        let rest = "machine b login z password w\n# end\n";
        assert_eq!(with_entry(text, "a", "new"), format!("{OURS}{rest}"));
        assert_eq!(with_entry(rest, "a", "new"), format!("{rest}{OURS}"));
        assert_eq!(with_entry("", "a", "new"), OURS);
        assert_eq!(
            with_entry("machine b", "a", "new"),
            format!("machine b\n{OURS}")
        );
    }

    #[test]
    fn default_and_macros_behind_the_entry_are_kept() {
        for rest in [
            "default login anonymous password me@example.com\n",
            "macdef init\ncd /pub\nmachine a\n\nmachine c password d\n",
            "default\n  login x\n  password y\nmacdef last\nbin\n",
        ] {
            let text = format!("machine a login x password y\n{rest}");
            let written = with_entry(&text, "a", "new");
            assert_eq!(written, format!("{OURS}{rest}"));
            assert_eq!(with_entry(&written, "a", "new"), written);
        }
    }

    #[test]
    fn a_new_entry_precedes_default_and_follows_a_closed_macro() {
        let default = "default login x password y\n";
        let text = format!("machine b password z\n{default}");
        let written = with_entry(&text, "a", "new");
        assert_eq!(written, format!("machine b password z\n{OURS}{default}"));
        assert_eq!(
            with_entry("macdef m\nbin\n", "a", "new"),
            format!("macdef m\nbin\n\n{OURS}")
        );
    }

    #[test]
    fn all_earlier_entries_of_the_machine_are_replaced_by_one() {
        let text = "machine a password 1\nmachine b password 2\nmachine a password 3\n";
        let written = with_entry(text, "a", "new");
        assert_eq!(written, format!("{OURS}machine b password 2\n"));
        let line = "machine a password 1 machine b password 2\n";
        assert_eq!(
            with_entry(line, "a", "new"),
            format!("{OURS}machine b password 2\n")
        );
    }

    #[test]
    fn words_of_the_format_may_be_values() {
        let text = "machine b login machine password default\nmachine a password x\n";
        assert_eq!(password(text, "b").as_deref(), Some("default"));
        assert_eq!(password(text, "a").as_deref(), Some("x"));
        assert_eq!(password("macdef m\nmachine a password x\n", "a"), None);
        assert_eq!(password("# machine a password x\n", "a"), None);
    }
}

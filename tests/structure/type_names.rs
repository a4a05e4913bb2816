//! Type names: a name that is defined once can be searched for.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree;

/// Names that may be defined in more than one file.
const ALLOWED: usize = 10;

#[test]
fn type_names_are_unique() {
    let mut definitions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in tree::files(&[".rs"]) {
        for name in file.text.lines().filter_map(defined_type) {
            let files = definitions.entry(name.to_owned()).or_default();
            files.insert(file.path.clone());
        }
    }
    definitions.retain(|_, files| files.len() > 1);
    println!("{} type names in more than one file", definitions.len());
    let mut text = String::new();
    for (name, files) in &definitions {
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        text.push_str(&format!("\n  {name}: {}", files.join(", ")));
    }
    println!("{text}");
    assert!(
        definitions.len() <= ALLOWED,
        "at most {ALLOWED} type names may be defined in more than one file:{text}"
    );
}

/// Returns the type that a line defines.
fn defined_type(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    if let Some(public) = rest.strip_prefix("pub") {
        let restricted = public.strip_prefix('(').and_then(|p| p.split_once(')'));
        rest = restricted.map_or(public, |(_, rest)| rest).trim_start();
    }
    rest = rest.strip_prefix("unsafe ").unwrap_or(rest);
    let (keyword, rest) = rest.split_once(' ')?;
    if !["struct", "enum", "union", "trait", "type"].contains(&keyword) {
        return None;
    }
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
    let name = &rest[..end.unwrap_or(rest.len())];
    name.starts_with(char::is_uppercase).then_some(name)
}

#[test]
fn definitions_are_found_at_any_indentation() {
    for (line, name) in [
        ("pub(crate) struct One<T>(T);", Some("One")),
        ("    enum Two {", Some("Two")),
        ("        type Three = u8;", Some("Three")),
        ("pub unsafe trait Four: Send {}", Some("Four")),
        ("    let structure = 1;", None),
        ("/// struct Five", None),
    ] {
        assert_eq!(defined_type(line), name, "{line}");
    }
}

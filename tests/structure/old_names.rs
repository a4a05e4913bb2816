//! Names that the project has replaced with the field's terms, and that must not come back.

use crate::lexer::{Token, tokens};
use crate::tree;

/// Identifiers that have no other use, by the start of the paths that the rule applies to.
const IDENTIFIERS: [(&str, &[&str]); 3] = [
    (
        "",
        &[
            "AppFigures",
            "Ask",
            "Distribution",
            "Figures",
            "Guarded",
            "Held",
            "Landed",
            "Manner",
            "OwnPages",
            "Places",
            "RouterFigures",
            "Site",
            "Trip",
            "UnderWay",
            "Verdict",
            "Workshop",
            "heir",
            "hungry",
            "inflow",
            "of_node",
            "outflow",
            "own_page",
            "suits",
        ],
    ),
    (
        "router/",
        &[
            "Apart",
            "Edition",
            "Exchange",
            "Follow",
            "Lead",
            "Place",
            "Taken",
            "Ticket",
            "edition",
            "flight",
            "influence",
            "obey",
        ],
    ),
    ("compiler/", &["Said", "Words"]),
];

/// Names of modules and files that have no other use, by the start of the paths that the rule applies to.
const MODULES: [(&str, &[&str]); 5] = [
    (
        "",
        &[
            "ahead", "doors", "gem_file", "mesh", "of_node", "own_page", "slices", "suits",
        ],
    ),
    (
        "router/src/",
        &[
            "account",
            "ask",
            "budget",
            "challenges",
            "check",
            "exchange",
            "figures",
            "filling",
            "flight",
            "forms",
            "groups",
            "guard",
            "inflow",
            "influence",
            "load",
            "outflow",
            "serving",
            "stored",
            "traffic",
        ],
    ),
    ("host/src/", &["exchange", "places", "slices"]),
    ("sdk/", &["calls", "flow", "roots", "values"]),
    ("node/", &["front", "load", "running", "shown", "spare"]),
];

#[test]
fn replaced_names_are_gone() {
    let mut found = Vec::new();
    for file in tree::files(&[".rs"]) {
        if file.path.starts_with("tests/structure/") {
            continue;
        }
        let applies = |scope: &str| file.path.starts_with(scope);
        let names = |rules: &[(&str, &[&'static str])]| -> Vec<&'static str> {
            let rules = rules.iter().filter(|(scope, _)| applies(scope));
            rules.flat_map(|(_, names)| names.iter().copied()).collect()
        };
        let (identifiers, modules) = (names(&IDENTIFIERS), names(&MODULES));
        for name in path_names(&file.path).filter(|name| modules.contains(name)) {
            found.push(format!("{}: file {name}", file.path));
        }
        let tokens = tokens(&file.text);
        for (at, word) in tokens.iter().enumerate() {
            let Some(word) = word.word() else { continue };
            let is_module = at > 0 && tokens[at - 1].is_word("mod");
            if identifiers.contains(&word) || (is_module && modules.contains(&word)) {
                found.push(format!("{}: {word}", file.path));
            }
        }
    }
    found.dedup();
    println!("{} uses of replaced names", found.len());
    assert!(
        found.is_empty(),
        "replaced names are used:\n{}",
        found.join("\n")
    );
}

/// Returns the names of the file and of its directories inside the crate.
fn path_names(path: &str) -> impl Iterator<Item = &str> {
    let inside = path.split_once("/src/").map_or("", |(_, inside)| inside);
    inside.split('/').map(|name| name.trim_end_matches(".rs"))
}

#[test]
fn comments_and_strings_do_not_count() {
    let tokens = tokens("/// Ask\nlet text = \"Ask\";");
    assert!(!tokens.contains(&Token::Word("Ask".to_owned())));
}

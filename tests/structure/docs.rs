//! Documents: links lead somewhere, commands and options exist, options of the server and error codes are explained.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::tree::{self, TreeFile};

#[test]
fn relative_links_lead_to_files_and_headings() {
    let documents = tree::files(&[".md"]);
    let mut broken = Vec::new();
    for document in &documents {
        for target in links(&document.text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if let Err(why) = check_link(document, &target) {
                broken.push(format!("{}: {target}: {why}", document.path));
            }
        }
    }
    println!(
        "{} documents, {} broken links",
        documents.len(),
        broken.len()
    );
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

/// Checks that the file of a relative link exists, and that it has the heading.
fn check_link(document: &TreeFile, target: &str) -> Result<(), String> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() {
        PathBuf::from(&document.path)
    } else {
        let directory = Path::new(&document.path).parent().unwrap();
        normalized(&directory.join(path)).ok_or("it leads out of the repository")?
    };
    let absolute = tree::root().join(&file);
    if !absolute.exists() {
        return Err("no such file".to_owned());
    }
    if anchor.is_empty() {
        return Ok(());
    }
    let text = std::fs::read_to_string(absolute).map_err(|error| error.to_string())?;
    if headings(&text).contains(anchor) {
        Ok(())
    } else {
        Err("no such heading".to_owned())
    }
}

/// Resolves `..` and `.` in a path inside the repository.
fn normalized(path: &Path) -> Option<PathBuf> {
    let mut normalized = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => normalized.pop().then_some(())?,
            Component::CurDir => {}
            other => normalized.push(other),
        }
    }
    Some(normalized)
}

/// Returns the lines of a document outside of fenced code, code spans removed.
fn prose(text: &str) -> String {
    let mut prose = String::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            // Every second part is between backticks.
            let parts = line.split('`').step_by(2);
            prose.push_str(&parts.collect::<Vec<_>>().join("` `"));
            prose.push('\n');
        }
    }
    prose
}

/// Returns the targets of inline links and images.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let targets = prose.split("](").skip(1);
    targets
        .filter_map(|rest| rest.split(')').next()?.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// Returns the anchors of all headings, as GitHub makes them.
fn headings(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let heading = line.trim_start_matches('#');
        if fenced || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = heading
            .trim()
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let anchor = anchor.to_lowercase();
        let repeated = (1..).map(|number| format!("{anchor}-{number}"));
        let free = std::iter::once(anchor.clone())
            .chain(repeated)
            .find(|name| !anchors.contains(name));
        anchors.extend(free);
    }
    anchors
}

/// Options of each command, by the words of the command, such as `apps:info` or `pack build`.
type Commands = BTreeMap<String, BTreeSet<String>>;

/// Asks the built binary for its commands and their options.
fn commands() -> Commands {
    let mut commands = Commands::new();
    add_commands(&[], &mut commands);
    assert!(commands.len() > 20, "{commands:?}");
    commands
}

fn add_commands(words: &[String], commands: &mut Commands) {
    let output = Command::new(env!("CARGO_BIN_EXE_corundum"))
        .args(words)
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let options = help
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| word.starts_with("--") && word.len() > 2);
    commands.insert(words.join(" "), options.map(str::to_owned).collect());
    let Some((_, list)) = help.split_once("\nCommands:\n") else {
        return;
    };
    for line in list.lines().take_while(|line| !line.is_empty()) {
        // Continuation lines of a description are indented further.
        let Some(name) = line
            .strip_prefix("  ")
            .filter(|name| !name.starts_with(' '))
        else {
            continue;
        };
        let name = name.split_whitespace().next().unwrap();
        if name == "help" {
            continue;
        }
        let mut command = words.to_vec();
        command.push(name.to_owned());
        add_commands(&command, commands);
        if let Some((_, aliases)) = line.split_once("[aliases: ") {
            for alias in aliases.trim_end_matches(']').split(", ") {
                let options = commands[&command.join(" ")].clone();
                let mut words = words.to_vec();
                words.push(alias.to_owned());
                commands.insert(words.join(" "), options);
            }
        }
    }
}

/// Documents that describe the CLI as it is now: the change log also names what is gone.
fn manuals() -> Vec<TreeFile> {
    let mut documents = tree::files(&[".md"]);
    documents.retain(|document| !document.path.ends_with("CHANGELOG.md"));
    documents
}

#[test]
fn documented_commands_and_options_exist() {
    let commands = commands();
    let all: BTreeSet<&String> = commands.values().flatten().collect();
    let (mut uses, mut unknown) = (0, Vec::new());
    for document in manuals() {
        for code in code(&document.text) {
            let spaced = code.replace(';', " ; ");
            let words: Vec<&str> = spaced.split_whitespace().collect();
            let mut complain =
                |what: &str| unknown.push(format!("{}: {what}: {code}", document.path));
            // A span that starts with an option names an option of some command.
            if let Some(option) = option(words.first().unwrap_or(&"")) {
                uses += 1;
                if !all.contains(&option) {
                    complain(&option);
                }
            }
            for command in shell_commands(&words) {
                uses += 1;
                if let Err(what) = check_command(command, &commands) {
                    complain(&what);
                }
            }
        }
    }
    println!(
        "{} commands, {uses} uses in documents, {} unknown",
        commands.len(),
        unknown.len()
    );
    assert!(
        unknown.is_empty(),
        "unknown commands or options:\n{}",
        unknown.join("\n")
    );
}

/// Words that separate two shell commands, or end the arguments of one.
const SEPARATORS: [&str; 9] = ["|", "&&", "||", ";", "#", "&", ">", "--", "$"];

/// Returns the arguments of each shell command that runs the binary.
fn shell_commands<'a, 'b>(words: &'a [&'b str]) -> impl Iterator<Item = &'a [&'b str]> {
    let commands = words.split(|word| SEPARATORS.contains(word));
    commands.filter_map(|words| {
        let (program, arguments) = words.split_first()?;
        (program.rsplit('/').next() == Some("corundum")).then_some(arguments)
    })
}

/// Checks the arguments of the binary.
fn check_command(words: &[&str], commands: &Commands) -> Result<(), String> {
    let mut command = String::new();
    for word in words {
        let longer = format!("{command} {word}").trim().to_owned();
        if !commands.contains_key(&longer) {
            break;
        }
        command = longer;
    }
    let next = words.first().copied().unwrap_or("");
    if command.is_empty() && next.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(format!("no command {next}"));
    }
    let options = &commands[&command];
    match words
        .iter()
        .filter_map(|word| option(word))
        .find(|option| !options.contains(option))
    {
        Some(option) => Err(format!("{command} has no {option}")),
        None => Ok(()),
    }
}

/// Returns the option that a word names, without its value.
fn option(word: &str) -> Option<String> {
    let name = word.strip_prefix("--")?;
    let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let name = &name[..end.unwrap_or(name.len())];
    (!name.is_empty()).then(|| format!("--{name}"))
}

/// Returns code spans, and the lines of fenced code.
fn code(text: &str) -> Vec<String> {
    let mut code = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            code.push(line.trim().to_owned());
        } else {
            code.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    code
}

#[test]
fn options_of_the_server_are_documented() {
    let path = tree::root().join("docs/configuration.md");
    let reference = code(&std::fs::read_to_string(path).unwrap());
    let words = reference.iter().flat_map(|code| code.split_whitespace());
    let documented: BTreeSet<String> = words.filter_map(option).collect();
    let mut commands = Commands::new();
    add_commands(&["server".to_owned()], &mut commands);
    let options = &commands["server"];
    println!("{} options of corundum server", options.len());
    assert!(options.len() > 20, "{options:?}");
    let missing: Vec<&String> = options
        .iter()
        .filter(|option| *option != "--help" && !documented.contains(*option))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/configuration.md does not list {missing:?}"
    );
}

#[test]
fn error_codes_are_documented() {
    let docs: Vec<TreeFile> = tree::files(&[".md"])
        .into_iter()
        .filter(|document| document.path.starts_with("docs/"))
        .collect();
    let codes = error_codes();
    println!("{} error codes", codes.len());
    if docs.is_empty() {
        return;
    }
    let missing: Vec<&String> = codes
        .iter()
        .filter(|code| {
            !docs
                .iter()
                .any(|document| document.text.contains(code.as_str()))
        })
        .collect();
    assert!(missing.is_empty(), "docs/ does not explain {missing:?}");
}

/// Returns the codes in string literals: H codes of the router's failures, R codes of the log.
fn error_codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for file in tree::files(&[".rs"]) {
        let parts = file.text.split('"').skip(1).step_by(2);
        if file.path.starts_with("router/src/") && file.path.ends_with("failure.rs") {
            codes.extend(parts.filter(|part| is_code(part, 'H')).map(str::to_owned));
        } else if file.path.contains("/src/") {
            let words = parts.flat_map(|part| part.split_whitespace());
            codes.extend(words.filter(|word| is_code(word, 'R')).map(str::to_owned));
        }
    }
    assert!(codes.len() > 15, "{codes:?}");
    codes
}

fn is_code(text: &str, letter: char) -> bool {
    let digits = text.strip_prefix(letter);
    digits.is_some_and(|digits| digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit()))
}

#[test]
fn documents_are_parsed() {
    let text = "# A `b` c!\n\n[d](e.md#f) and `[g](h)`\n```\ncorundum logs\n```\n## A b c\n";
    assert_eq!(links(text), ["e.md#f"]);
    assert_eq!(code(text), ["b", "[g](h)", "corundum logs"]);
    let anchors: Vec<String> = headings(text).into_iter().collect();
    assert_eq!(anchors, ["a-b-c", "a-b-c-1"]);
}

//! Scripts of an app that name Ruby as their interpreter, as Linux runs them (execve(2)).

use corundum_pack::archive::{Archive, ArchiveNode, NodeId, resolve_from};

/// Bytes of a script's first line that Linux looks at.
const MAX_LINE: usize = 255;
/// The most symbolic links that are followed in a row.
const MAX_LINKS: usize = 8;

/// A script that its owner has not made executable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}: permission denied: make it executable (git update-index --chmod=+x {0}), then push again"
)]
pub(crate) struct NotExecutable(String);

/// Puts Ruby in front of a command that is a script of the app in `slug` and names Ruby in its first line.
///
/// # Errors
///
/// [`NotExecutable`] if the command is such a script without the executable bit.
pub(crate) fn with_interpreter(
    arguments: &[String],
    slug: &Archive,
) -> Result<Option<Vec<String>>, NotExecutable> {
    let own = match arguments {
        [bundle, exec, rest @ ..] if bundle == "bundle" && exec == "exec" => rest,
        all => all,
    };
    let Some(command) = own.first().filter(|command| command.contains('/')) else {
        return Ok(None);
    };
    let Some(node) = find(slug, command) else {
        return Ok(None);
    };
    let Some(options) = ruby_options(slug.content(node)) else {
        return Ok(None);
    };
    if !matches!(slug.node(node), ArchiveNode::File { executable, .. } if *executable) {
        return Err(NotExecutable(command.clone()));
    }
    let ruby = std::iter::once("ruby".to_owned()).chain(options);
    Ok(Some(ruby.chain(own.iter().cloned()).collect()))
}

/// Finds the file that a command names, relative to `/app`.
fn find(slug: &Archive, command: &str) -> Option<NodeId> {
    let mut path = normalised("", command.strip_prefix("/app/").unwrap_or(command))?;
    for _ in 0..MAX_LINKS {
        let node = slug.lookup(&path)?;
        match slug.node(node) {
            ArchiveNode::File { .. } => return Some(node),
            ArchiveNode::Symlink { target } => path = normalised(&path, target)?,
            ArchiveNode::Directory { .. } => return None,
        }
    }
    None
}

/// Returns the path of `target` relative to the folder of `from`. A path that leaves the app has none.
fn normalised(from: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    Some(resolve_from(parts, target)?.join("/"))
}

/// Returns the options in a script's first line, if the line names Ruby, itself or by `env`.
fn ruby_options(script: &[u8]) -> Option<Vec<String>> {
    let line = script.get(..script.len().min(MAX_LINE))?;
    let line = line.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.strip_prefix("#!")?;
    let mut words = line.split_ascii_whitespace();
    let is = |word: &str, name: &str| word.rsplit('/').next() == Some(name);
    let mut interpreter = words.next()?;
    if is(interpreter, "env") {
        interpreter = words.find(|word| *word != "-S")?;
    }
    is(interpreter, "ruby").then(|| words.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use corundum_pack::archive::{ArchiveWriter, FileMode};

    use super::*;

    fn slug(files: &[(&str, &str, FileMode)], links: &[(&str, &str)]) -> Archive {
        let mut writer = ArchiveWriter::new(Vec::new());
        for (path, text, mode) in files {
            let length = text.len() as u64;
            writer
                .add_file(path, text.as_bytes(), length, *mode)
                .unwrap();
        }
        for (path, target) in links {
            writer.add_symlink(path, target).unwrap();
        }
        Archive::new(writer.finish().unwrap().output).unwrap()
    }

    fn run(command: &str, slug: &Archive) -> Option<String> {
        let arguments: Vec<String> = command.split(' ').map(str::to_owned).collect();
        let found = with_interpreter(&arguments, slug).unwrap();
        found.map(|arguments| arguments.join(" "))
    }

    #[test]
    fn script_runs_by_the_interpreter_of_its_first_line() {
        for (line, options) in [
            ("#!/usr/bin/env ruby", Some("")),
            ("#!/usr/bin/ruby -w", Some("-w ")),
            ("#! /usr/bin/env -S ruby -W0", Some("-W0 ")),
            ("#!/usr/bin/env ruby\r", Some("")),
            ("#!/bin/sh", None),
            ("#!/usr/bin/env bash", None),
            ("#!/usr/bin/jruby", None),
            ("puts 1", None),
            ("", None),
        ] {
            let text = format!("{line}\nputs 1\n");
            let slug = slug(&[("bin/task", &text, FileMode::Executable)], &[]);
            let expected = options.map(|options| format!("ruby {options}bin/task a"));
            assert_eq!(run("bin/task a", &slug), expected, "{line}");
        }
    }

    #[test]
    fn script_is_found_like_any_path_of_the_app() {
        let text = "#!/usr/bin/env ruby\n";
        let slug = slug(
            &[("bin/task", text, FileMode::Executable)],
            &[
                ("here", "bin/./task"),
                ("loop", "loop"),
                ("out", "/etc/passwd"),
            ],
        );
        for found in ["./bin/task", "/app/bin/task", "bin/../bin/task", "./here"] {
            assert_eq!(run(found, &slug), Some(format!("ruby {found}")));
        }
        assert_eq!(
            run("bundle exec bin/task", &slug).as_deref(),
            Some("ruby bin/task")
        );
        for other in [
            "task",
            "ruby bin/task",
            "bin",
            "./loop",
            "./out",
            "../bin/task",
            "/bin/task",
            "/",
        ] {
            assert_eq!(run(other, &slug), None, "{other}");
        }
    }

    #[test]
    fn script_without_the_executable_bit_is_refused() {
        let slug = slug(
            &[("bin/task", "#!/usr/bin/env ruby\n", FileMode::Plain)],
            &[],
        );
        let error = with_interpreter(&["bin/task".to_owned()], &slug).unwrap_err();
        assert!(error.to_string().contains("--chmod=+x bin/task"), "{error}");
    }
}

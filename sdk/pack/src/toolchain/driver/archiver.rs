//! Archives of objects.

use super::error::DriverError;
use super::{CommandPlan, DriverPaths, paths as map};

/// Letters of operations and modifiers: replace, append, create, index, update, verbose, fixed or real times, list.
const LETTERS: &str = "rqcsuvDUt";

/// Translates `ar rcs libfoo.a a.o b.o`.
pub(super) fn ar(words: &[String], paths: &DriverPaths<'_>) -> Result<CommandPlan, DriverError> {
    let (operation, files) = words.split_first().ok_or(DriverError::NoInput)?;
    let letters = operation.strip_prefix('-').unwrap_or(operation);
    if letters.is_empty() || !letters.chars().all(|letter| LETTERS.contains(letter)) {
        return Err(DriverError::refused(
            operation,
            "the archiver supports the letters r, q, c, s, u, v, D, U and t",
        ));
    }
    let (archive, members) = files.split_first().ok_or(DriverError::NoInput)?;
    let mut command = vec![
        super::super::zig(paths.toolchain).into(),
        "ar".into(),
        letters.into(),
        map::output(archive, paths)?.into(),
    ];
    for member in members {
        no_option(member)?;
        command.push(map::input(member, paths)?.into());
    }
    Ok(CommandPlan {
        commands: vec![command],
        temporary: Vec::new(),
    })
}

/// Translates `ranlib libfoo.a`.
pub(super) fn ranlib(
    words: &[String],
    paths: &DriverPaths<'_>,
) -> Result<CommandPlan, DriverError> {
    let mut commands = Vec::new();
    for word in words.iter().filter(|word| *word != "-D" && *word != "-U") {
        no_option(word)?;
        commands.push(vec![
            super::super::zig(paths.toolchain).into(),
            "ranlib".into(),
            map::output(word, paths)?.into(),
        ]);
    }
    if commands.is_empty() {
        return Err(DriverError::NoInput);
    }
    Ok(CommandPlan {
        commands,
        temporary: Vec::new(),
    })
}

fn no_option(word: &str) -> Result<(), DriverError> {
    if word.starts_with('-') {
        return Err(DriverError::refused(
            word,
            "the archiver does not support this option",
        ));
    }
    Ok(())
}

//! Names of languages and series, which become parts of file names and of commands.

/// A name that a pack must not have. The author of the pack corrects it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPackName {
    /// The name of a language.
    #[error(
        "{0:?} is not a name of a language: use 1 to 30 lower-case letters and digits, a letter first"
    )]
    Language(String),
    /// The name of a series.
    #[error("{0:?} is not a series: use 1 to 20 letters, digits and dots, as in 5.4")]
    Series(String),
}

/// Checks the name of a language, such as `lua`.
///
/// # Errors
///
/// [`BadPackName::Language`].
pub fn check_language(name: &str) -> Result<(), BadPackName> {
    let valid = (1..=30).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    match valid {
        true => Ok(()),
        false => Err(BadPackName::Language(name.chars().take(40).collect())),
    }
}

/// Checks the name of a series, such as `5.4`.
///
/// # Errors
///
/// [`BadPackName::Series`].
pub fn check_series(name: &str) -> Result<(), BadPackName> {
    let valid = (1..=20).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    match valid {
        true => Ok(()),
        false => Err(BadPackName::Series(name.chars().take(40).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_folder_are_invalid() {
        for name in ["lua", "go", "node22"] {
            assert_eq!(check_language(name), Ok(()));
        }
        for name in ["", "Lua", "2lua", "a/b", "..", "a-b", "é", &"a".repeat(31)] {
            assert!(check_language(name).is_err(), "{name}");
        }
        for name in ["5.4", "1", "22LTS"] {
            assert_eq!(check_series(name), Ok(()));
        }
        for name in ["", ".", "..", "5/4", "5-4", ".5", &"1".repeat(21)] {
            assert!(check_series(name).is_err(), "{name}");
        }
    }
}

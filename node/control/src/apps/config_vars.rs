//! ConfigVars vars: what may be set, and how a change is described.

use std::collections::BTreeMap;

use corundum_store::ConfigVars;

/// Bytes of all of an app's config vars, as Heroku has it.
const MAX_BYTES: usize = 64 << 10;

/// New values by name; none unsets a variable.
pub(crate) type Changes = BTreeMap<String, Option<String>>;

/// ConfigVars vars that cannot be set. The user's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A name that no shell would take.
    #[error("\"{0}\" is not a config var's name: use letters, digits and underscores")]
    Name(String),
    /// A NUL byte.
    #[error("the value of {0} has a NUL byte, which no environment can hold")]
    Nul(String),
    /// Too much.
    #[error("config vars may have {MAX_BYTES} bytes together, and these have {0}")]
    Size(usize),
    /// Nothing.
    #[error("no config vars were given: write NAME=VALUE")]
    Nothing,
}

/// Changes `config`, and says what was changed as releases describe it.
///
/// # Errors
///
/// [`ConfigError`]; `config` is then good for nothing.
pub(crate) fn change(config: &mut ConfigVars, changes: Changes) -> Result<String, ConfigError> {
    let mut set = Vec::new();
    let mut unset = Vec::new();
    for (name, value) in changes {
        match value {
            Some(value) => {
                config.insert(name.clone(), value);
                set.push(name);
            }
            None => {
                config.remove(&name);
                unset.push(name);
            }
        }
    }
    check(config)?;
    match (set.is_empty(), unset.is_empty()) {
        (true, true) => Err(ConfigError::Nothing),
        (false, _) => Ok(format!("Set {} config vars", set.join(", "))),
        (true, false) => Ok(format!("Unset {} config vars", unset.join(", "))),
    }
}

/// Checks names, values and the size of all.
///
/// # Errors
///
/// [`ConfigError`].
pub(crate) fn check(config: &ConfigVars) -> Result<(), ConfigError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (name, value) in config {
        let starts_well = name.starts_with(|c: char| !c.is_ascii_digit());
        if !starts_well || !name.chars().all(plain) {
            return Err(ConfigError::Name(name.chars().take(80).collect()));
        }
        if value.contains('\0') {
            return Err(ConfigError::Nul(name.clone()));
        }
    }
    let size = config
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if size > MAX_BYTES {
        return Err(ConfigError::Size(size));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Result<String, ConfigError> {
        let changes = Changes::from([(name.to_owned(), Some(value.to_owned()))]);
        change(&mut ConfigVars::new(), changes)
    }

    #[test]
    fn a_change_is_described() {
        let mut config = ConfigVars::from([("B".to_owned(), String::new())]);
        let changes = Changes::from([
            ("A".to_owned(), Some("1".to_owned())),
            ("B".to_owned(), None),
        ]);
        assert_eq!(change(&mut config, changes).unwrap(), "Set A config vars");
        assert_eq!(config, ConfigVars::from([("A".to_owned(), "1".to_owned())]));
        let changes = Changes::from([("A".to_owned(), None)]);
        assert_eq!(change(&mut config, changes).unwrap(), "Unset A config vars");
    }

    #[test]
    fn what_no_environment_holds_is_refused() {
        for name in ["", "1A", "A-B", "A=B", "Ä"] {
            assert!(
                matches!(set(name, "x"), Err(ConfigError::Name(_))),
                "{name}"
            );
        }
        assert_eq!(set("A", "x\0y"), Err(ConfigError::Nul("A".to_owned())));
        let long = "x".repeat(MAX_BYTES);
        assert!(matches!(set("A", &long), Err(ConfigError::Size(_))));
        assert_eq!(
            change(&mut ConfigVars::new(), Changes::new()),
            Err(ConfigError::Nothing)
        );
    }
}

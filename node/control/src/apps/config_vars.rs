//! ConfigVars vars: what may be set, and how a change is described.

use std::collections::BTreeMap;

use corundum_store::ConfigVars;

/// Bytes of all of an app's config vars together, as on Heroku.
const MAX_BYTES: usize = 64 << 10;

/// New values by name. `None` unsets a variable.
pub(crate) type ConfigVarChanges = BTreeMap<String, Option<String>>;

/// ConfigVars vars that cannot be set. The user's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigVarError {
    /// The name is not a valid shell variable.
    #[error("\"{0}\" is not a config var's name: use letters, digits and underscores")]
    Name(String),
    /// The value has a NUL byte.
    #[error("the value of {0} has a NUL byte, which no environment can hold")]
    Nul(String),
    /// The config vars are too large.
    #[error("config vars may have {MAX_BYTES} bytes together; these have {0}")]
    Size(usize),
    /// An add-on sets the config var.
    #[error(
        "{0} belongs to an add-on: attach the add-on under another name or detach it (corundum addons, corundum addons:detach)"
    )]
    Attached(String),
    /// The change is empty.
    #[error("no config vars were given: write NAME=VALUE")]
    Nothing,
}

/// Changes `config` and returns the description of the change for its release.
///
/// # Errors
///
/// [`ConfigVarError`]; `config` may then be changed in part.
pub(crate) fn change(
    config: &mut ConfigVars,
    changes: ConfigVarChanges,
) -> Result<String, ConfigVarError> {
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
        (true, true) => Err(ConfigVarError::Nothing),
        (false, _) => Ok(format!("Set {} config vars", set.join(", "))),
        (true, false) => Ok(format!("Unset {} config vars", unset.join(", "))),
    }
}

/// Checks the names, the values and the total size.
///
/// # Errors
///
/// [`ConfigVarError`].
pub(crate) fn check(config: &ConfigVars) -> Result<(), ConfigVarError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (name, value) in config {
        let starts_well = name.starts_with(|c: char| !c.is_ascii_digit());
        if !starts_well || !name.chars().all(plain) {
            return Err(ConfigVarError::Name(name.chars().take(80).collect()));
        }
        if value.contains('\0') {
            return Err(ConfigVarError::Nul(name.clone()));
        }
    }
    let size = config
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if size > MAX_BYTES {
        return Err(ConfigVarError::Size(size));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Result<String, ConfigVarError> {
        let changes = ConfigVarChanges::from([(name.to_owned(), Some(value.to_owned()))]);
        change(&mut ConfigVars::new(), changes)
    }

    #[test]
    fn change_is_described() {
        let mut config = ConfigVars::from([("B".to_owned(), String::new())]);
        let changes = ConfigVarChanges::from([
            ("A".to_owned(), Some("1".to_owned())),
            ("B".to_owned(), None),
        ]);
        assert_eq!(change(&mut config, changes).unwrap(), "Set A config vars");
        assert_eq!(config, ConfigVars::from([("A".to_owned(), "1".to_owned())]));
        let changes = ConfigVarChanges::from([("A".to_owned(), None)]);
        assert_eq!(change(&mut config, changes).unwrap(), "Unset A config vars");
    }

    #[test]
    fn invalid_names_and_values_are_rejected() {
        for name in ["", "1A", "A-B", "A=B", "Ä"] {
            assert!(
                matches!(set(name, "x"), Err(ConfigVarError::Name(_))),
                "{name}"
            );
        }
        assert_eq!(set("A", "x\0y"), Err(ConfigVarError::Nul("A".to_owned())));
        let long = "x".repeat(MAX_BYTES);
        assert!(matches!(set("A", &long), Err(ConfigVarError::Size(_))));
        assert_eq!(
            change(&mut ConfigVars::new(), ConfigVarChanges::new()),
            Err(ConfigVarError::Nothing)
        );
    }
}

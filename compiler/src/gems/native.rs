//! Gems with a native extension, which a dyno cannot load.

use corundum_pack::ruby::Series;

use super::error::GemError;

/// Gems with a native extension that no pack carries, and an alternative for each.
const ALTERNATIVES: [(&str, &str); 11] = [
    ("pg", "databases come with a later version"),
    ("mysql2", "databases come with a later version"),
    ("sqlite3", "a dyno has no disk to keep a database on"),
    ("nokogiri", "use rexml"),
    ("bcrypt", CARRIED),
    ("commonmarker", CARRIED),
    ("ffi", "a dyno cannot load native libraries"),
    ("msgpack", "use json"),
    ("eventmachine", "use threads"),
    ("nio4r", "use IO.select"),
    ("bigdecimal", CARRIED),
];

/// Advice for the gems that packs built from source carry.
const CARRIED: &str = "";

/// Gems that work without their extension, by code of their own in Ruby.
const OPTIONAL: [&str; 2] = ["digest-crc", "io-event"];

/// Returns whether the gem works without its extension.
pub(super) fn is_optional(name: &str) -> bool {
    OPTIONAL.contains(&name)
}

/// Rejects a gem that is known to have a native extension.
pub(super) fn reject_known(name: &str) -> Result<(), GemError> {
    match ALTERNATIVES.iter().find(|(native, _)| *native == name) {
        Some((_, advice)) => Err(native_error(name, advice)),
        None => Ok(()),
    }
}

/// Returns the error for any gem with a native extension, with an alternative if one is known.
pub(super) fn rejection(name: &str) -> GemError {
    match reject_known(name) {
        Err(error) => error,
        Ok(()) => native_error(name, "use a gem written in Ruby alone"),
    }
}

fn native_error(name: &str, advice: &str) -> GemError {
    let advice = match advice {
        CARRIED => format!(
            "Ruby {} carry it when they are built from source: ask for one of them, or for none",
            Series::from_source()
        ),
        advice => advice.to_owned(),
    };
    GemError::Native {
        name: name.to_owned(),
        advice,
    }
}

//! Gems that a dyno does not need, and gems whose native extension it cannot load.

use super::error::GemError;

/// Web servers, and gems that only they need: a dyno serves requests itself.
const SERVERS: [&str; 9] = [
    "puma",
    "thin",
    "unicorn",
    "falcon",
    "webrick",
    "nio4r",
    "eventmachine",
    "daemons",
    "bootsnap",
];

/// Gems with a native extension that no pack carries, and an alternative for each.
const ALTERNATIVES: [(&str, &str); 8] = [
    ("pg", "databases come with a later version"),
    ("mysql2", "databases come with a later version"),
    ("sqlite3", "a dyno has no disk to keep a database on"),
    ("nokogiri", "use rexml"),
    (
        "bcrypt",
        "Ruby 3.3 carries it: ask for that version, or for none",
    ),
    ("ffi", "a dyno cannot load native libraries"),
    ("msgpack", "use json"),
    (
        "bigdecimal",
        "Ruby 3.3 carries it: ask for that version, or for none",
    ),
];

/// Returns whether a build leaves the gem out because only a web server needs it.
pub(super) fn is_server(name: &str) -> bool {
    SERVERS.contains(&name)
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
    GemError::Native {
        name: name.to_owned(),
        advice: advice.to_owned(),
    }
}

//! Gems that a dyno has no use for, and those whose native part it cannot load.

use super::GemError;

/// Servers and what only they need: a dyno is one.
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

/// Gems with a native part that no pack carries, and what to use instead.
const INSTEAD: [(&str, &str); 8] = [
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

/// Whether the gem is left out: a server, or of use to one only.
pub(super) fn is_server(name: &str) -> bool {
    SERVERS.contains(&name)
}

/// Refuses a gem that is known for its native part.
pub(super) fn refuse_known(name: &str) -> Result<(), GemError> {
    match INSTEAD.iter().find(|(native, _)| *native == name) {
        Some((_, advice)) => Err(refusal(name, advice)),
        None => Ok(()),
    }
}

/// Refuses any gem with a native part.
pub(super) fn refuse(name: &str) -> GemError {
    match refuse_known(name) {
        Err(error) => error,
        Ok(()) => refusal(name, "use a gem written in Ruby alone"),
    }
}

fn refusal(name: &str, advice: &str) -> GemError {
    GemError::Native {
        name: name.to_owned(),
        advice: advice.to_owned(),
    }
}

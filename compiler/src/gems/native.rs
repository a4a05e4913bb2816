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

/// Gems that no build can make work in a dyno, with the reason and an alternative.
const IMPOSSIBLE: [(&str, &str); 6] = [
    (
        "ffi",
        "a dyno cannot load libraries of the machine: use a gem with a C extension of its own",
    ),
    (
        "fiddle",
        "a dyno cannot load libraries of the machine: use a gem with a C extension of its own",
    ),
    (
        "sass-embedded",
        "it starts another program: use sassc, or compile stylesheets before the push",
    ),
    (
        "stackprof",
        "it samples by signals that dynos do not have: use a profiler of the language, such as ruby-prof",
    ),
    (
        "eventmachine",
        "it has an event loop of its own over sockets of the machine: use async or threads",
    ),
    (
        "mini_racer",
        "it brings a machine code compiler: use execjs with another runtime, or compile before the push",
    ),
];

/// Rejects a gem that cannot work in a dyno.
pub(super) fn reject_impossible(name: &str) -> Result<(), GemError> {
    match IMPOSSIBLE.iter().find(|(known, _)| *known == name) {
        Some((_, advice)) => Err(native_error(name, advice)),
        None => Ok(()),
    }
}

/// Arguments of scripts that would otherwise fetch and build libraries that the sysroot has.
const OPTIONS: [(&str, &str); 3] = [
    ("nokogiri", "--use-system-libraries"),
    ("sassc", "--disable-march-tune-native"),
    ("sqlite3", "--enable-system-libraries"),
];

/// Returns the arguments of a gem's scripts.
pub(super) fn options(name: &str) -> Vec<String> {
    let found = OPTIONS.iter().filter(|(known, _)| *known == name);
    found.map(|(_, option)| (*option).to_owned()).collect()
}

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

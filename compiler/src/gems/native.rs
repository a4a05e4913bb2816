//! Gems with a native extension: those that no pack can load, those that only packs from source can, and those of the pack.

use corundum_pack::ruby::Series;

use super::error::GemError;

/// Gems that are known to have an extension, so that a pack that loads none need not fetch them first.
const KNOWN: [&str; 8] = [
    "bcrypt",
    "bigdecimal",
    "commonmarker",
    "msgpack",
    "mysql2",
    "nokogiri",
    "pg",
    "sqlite3",
];

/// Gems of the pack that a locked version cannot replace, with the reason.
const KEPT: [(&str, &str); 7] = [
    ("digest", "its classes are those of Ruby's OpenSSL"),
    ("io-console", "a dyno's terminal is the pack's"),
    ("io-nonblock", "descriptors are the pack's"),
    ("io-wait", "descriptors are the pack's"),
    ("openssl", "its connections are the pack's sockets"),
    ("pathname", "Bundler has loaded it"),
    ("ripper", "it is the parser of this Ruby"),
];

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

/// Returns why a gem of the pack keeps the pack's version, if it does.
pub(super) fn kept(name: &str) -> Option<&'static str> {
    let found = KEPT.iter().find(|(known, _)| *known == name);
    found.map(|(_, reason)| *reason)
}

/// Rejects a gem that is known to have a native extension, for a pack that loads none.
pub(super) fn reject_known(name: &str) -> Result<(), GemError> {
    reject_impossible(name)?;
    match KNOWN.contains(&name) {
        true => Err(rejection(name)),
        false => Ok(()),
    }
}

/// Returns the error for a gem with a native extension, for a pack that loads none.
pub(super) fn rejection(name: &str) -> GemError {
    match reject_impossible(name) {
        Err(error) => error,
        Ok(()) => {
            let series = Series::from_source();
            let advice = format!(
                "Ruby {series} compile and load it when they are built from source: ask for one of them in the Gemfile, or for none"
            );
            native_error(name, &advice)
        }
    }
}

/// Returns the error for a gem of a repository whose extension is not built.
pub(super) fn rejection_of_repository(name: &str, builds: bool) -> GemError {
    match builds {
        true => native_error(
            name,
            "its repository has no ext/…/extconf.rb: take the gem from a gem server",
        ),
        false => rejection(name),
    }
}

fn native_error(name: &str, advice: &str) -> GemError {
    GemError::Native {
        name: name.to_owned(),
        advice: advice.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_fits_packs_that_load_no_extension() {
        let advice = |name: &str| reject_known(name).map_err(|error| error.to_string());
        for name in KNOWN {
            let text = advice(name).unwrap_err();
            assert!(
                text.contains("Ruby 3.3 and 3.4 compile and load it"),
                "{text}"
            );
        }
        for (name, reason) in IMPOSSIBLE {
            assert!(advice(name).unwrap_err().ends_with(reason));
            assert_eq!(
                advice(name),
                reject_impossible(name).map_err(|error| error.to_string())
            );
        }
        assert_eq!(advice("rack"), Ok(()));
    }
}

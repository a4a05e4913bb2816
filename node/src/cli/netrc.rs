//! `~/.netrc`: the token, where git looks for it too. Other entries stay as they are.

use std::io::Write;
use std::path::PathBuf;

fn path() -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("HOME")
        .ok_or_else(|| anyhow::anyhow!("HOME is not set, so there is no ~/.netrc"))?;
    Ok(PathBuf::from(home).join(".netrc"))
}

/// The token for `machine`.
pub(crate) fn token(machine: &str) -> Option<String> {
    let text = std::fs::read_to_string(path().ok()?).ok()?;
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        if word == "machine" && words.next() == Some(machine) {
            let mut entry = words.clone().take_while(|word| *word != "machine");
            while let Some(word) = entry.next() {
                if word == "password" {
                    return entry.next().map(str::to_owned);
                }
            }
        }
    }
    None
}

/// Writes the token for `machine`, replacing an earlier one.
pub(crate) fn set_token(machine: &str, token: &str) -> anyhow::Result<()> {
    let path = path()?;
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    let mut text = without(&old, machine);
    text.push_str(&format!(
        "machine {machine}\n  login corundum\n  password {token}\n"
    ));
    let directory = path.parent().unwrap_or(std::path::Path::new("."));
    // Readable by its owner alone, which is what the temporary file is too.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

/// The text without the entry of `machine`.
fn without(text: &str, machine: &str) -> String {
    let mut kept = String::new();
    let mut inside = false;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() == Some("machine") {
            inside = words.next() == Some(machine);
        }
        if !inside {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::without;

    #[test]
    fn other_entries_stay_as_they_are() {
        let text = "machine a\n  login x\n  password y\nmachine b login z password w\n# end\n";
        assert_eq!(without(text, "a"), "machine b login z password w\n# end\n");
        assert_eq!(without(text, "c"), text);
    }
}

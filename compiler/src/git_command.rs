//! Command of git: bounded, and configured by the node alone.
//!
//! Git works on bytes of the pusher and of strangers' repositories. A repository's attributes, its replacement objects, the
//! machine's configuration and the user's home therefore have no effect, git finds no program beside its own, and the kernel
//! limits memory, processor time and files of each process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Home, folder of temporary files and search path of git's processes. The path does not exist, so that a program that git
/// would start (gpg, a pager, an editor) is not found, and nothing is written outside of the repository. Git finds its own
/// programs in a folder that is compiled into it.
const NOWHERE: &str = "/nonexistent";

/// The empty tree, from which git takes attributes in place of the pushed one. Git knows this object without storing it.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// Applies the limits to the shell, then becomes git.
///
/// In order: no core dump; 512 MiB of private memory, which bounds the objects that git holds at once; 2 GiB of address
/// space, since git also maps packs; 5 minutes of processor time; 16 GiB in a file; 256 open files. A limit that is already
/// lower stays. When the machine's memory runs out, the kernel ends git before the node.
const LIMITED: &str = r#"limit() { ulimit "$1" "$2" 2>/dev/null || [ "$(ulimit "$1")" != unlimited ] || exit 126; }
limit -c 0; limit -d 524288; limit -v 2097152; limit -t 300; limit -f 33554432; limit -n 256
echo 900 2>/dev/null >/proc/self/oom_score_adj
exec "$0" "$@""#;

/// Configuration of every command. It takes precedence over a repository's own.
const CONFIG: [(&str, &str); 23] = [
    ("core.attributesFile", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.hooksPath", NOWHERE),
    ("core.useReplaceRefs", "false"),
    ("protocol.allow", "never"),
    // The node's own paths name the repositories, so another owner, as after a restored backup, is no danger.
    ("safe.directory", "*"),
    // A release's commit must survive a loss of power as the store's record does.
    ("core.fsync", "objects,derived-metadata,reference"),
    ("core.filesRefLockTimeout", "5000"),
    ("core.packedRefsTimeout", "5000"),
    // Git streams larger blobs in place of holding them.
    ("core.bigFileThreshold", "32m"),
    ("core.packedGitWindowSize", "32m"),
    ("core.packedGitLimit", "256m"),
    ("core.deltaBaseCacheLimit", "32m"),
    ("pack.threads", "1"),
    ("pack.windowMemory", "64m"),
    ("pack.deltaCacheSize", "32m"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    // `gc --auto` would not collect, but its lock would stay when a client disconnects right after a push.
    ("receive.autogc", "false"),
    ("receive.shallowUpdate", "false"),
    ("transfer.fsckObjects", "true"),
    // `index-pack` streams a pack to disk; `unpack-objects` holds all of its objects.
    ("transfer.unpackLimit", "1"),
    ("http.getanyfile", "false"),
];

/// Returns a git command with the limits, the node's configuration and more of it.
pub fn configured(more: &[(&str, &str)]) -> Command {
    let mut git = Command::new("/bin/sh");
    git.args(["-c", LIMITED])
        .arg(program())
        .env_clear()
        .env("HOME", NOWHERE)
        .env("TMPDIR", NOWHERE)
        .env("PATH", NOWHERE)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_ATTR_SOURCE", EMPTY_TREE)
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_TERMINAL_PROMPT", "0");
    let mut count = 0;
    for (key, value) in CONFIG.iter().chain(more) {
        git.env(format!("GIT_CONFIG_KEY_{count}"), key)
            .env(format!("GIT_CONFIG_VALUE_{count}"), value);
        count += 1;
    }
    git.env("GIT_CONFIG_COUNT", count.to_string());
    git
}

/// Returns the path of git: the first one in the node's own search path.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
        let found = std::env::split_paths(&path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join("git"))
            .find(|program| program.is_file());
        found.unwrap_or_else(|| PathBuf::from("/usr/bin/git"))
    })
}

//! `login`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::client::ApiClient;
use crate::output::say;

/// Get a token from the node on this machine
///
/// The node gives a token to the user that runs it and to no other user: it asks the kernel which user connects to the
/// Unix socket in its data directory. Other commands log in by themselves when the node asks for a token. The token goes
/// to ~/.netrc, where git finds it too. To use a node of another machine, bring a token of it with --token-stdin.
#[derive(Args)]
pub struct LoginArguments {
    /// Data directory of the node [default: the one that the node names]
    #[arg(long, value_name = "DIR", env = "CORUNDUM_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Read a token from standard input in place of requesting one
    #[arg(long)]
    token_stdin: bool,
}

/// Runs `login`.
pub(super) fn run(arguments: LoginArguments, client: &ApiClient) -> anyhow::Result<()> {
    if arguments.token_stdin {
        client.store_token(&token(std::io::stdin().lock())?)?;
    } else {
        client.log_in(arguments.data_dir.as_deref())?;
    }
    say!("Logged in: the token is in ~/.netrc");
    Ok(())
}

/// Reads a token, which is one word.
fn token(input: impl std::io::Read) -> anyhow::Result<String> {
    let text = std::io::read_to_string(input).context("--token-stdin")?;
    let mut words = text.split_whitespace();
    match (words.next(), words.next()) {
        (Some(token), None) => Ok(token.to_owned()),
        _ => anyhow::bail!("--token-stdin: standard input is not a token; write one word"),
    }
}

#[cfg(test)]
mod tests {
    use super::token;

    #[test]
    fn a_token_is_one_word() {
        assert_eq!(token(&b" abc\n"[..]).unwrap(), "abc");
        assert!(token(&b""[..]).is_err());
        assert!(token(&b"a b"[..]).is_err());
    }
}

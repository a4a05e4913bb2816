//! `access:tokens`, `access:create` and `access:revoke`.

use anyhow::{Context, bail};
use clap::Subcommand;
use corundum_api::authorization::{AuthorizationCreate, AuthorizationResource};

use crate::client::{ApiClient, segment};
use crate::output::{OutputOption, print_json, say};
use crate::table::Table;
use crate::units::or_dash;

/// The path of the tokens.
const TOKENS: &str = "/v1/oauth/authorizations";

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// Commands about tokens.
#[derive(Subcommand)]
pub enum AccessCommand {
    /// List the tokens
    ///
    /// A token gives access to all apps of the node. The listing shows the first and last characters of each, and its last
    /// use to the hour.
    #[command(name = "access:tokens", visible_alias = "access")]
    Tokens(OutputOption),
    /// Make a token
    ///
    /// Prints the token, which the node never shows again. Pass it to `corundum login --token-stdin` on another machine.
    ///
    /// Example: corundum access:create laptop --days 365
    #[command(name = "access:create")]
    Create {
        /// Name of the token, for the listing
        name: String,
        /// Days until the token expires [default: it does not]
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=36_500))]
        days: Option<u64>,
    },
    /// Revoke a token
    ///
    /// The node refuses the token from then on. A log that is being followed goes on.
    ///
    /// Example: corundum access:revoke laptop
    #[command(name = "access:revoke")]
    Revoke {
        /// Name of the token, or its ID
        token: String,
    },
}

/// Runs a command about tokens.
pub(super) fn run(command: AccessCommand, client: &ApiClient) -> anyhow::Result<()> {
    match command {
        AccessCommand::Tokens(output) => list(client, output),
        AccessCommand::Create { name, days } => {
            let request = AuthorizationCreate {
                description: Some(name),
                expires_in: days.map(|days| days * DAY),
                scope: None,
            };
            let made: AuthorizationResource = client.post(TOKENS, &request)?;
            let token = made.access_token.context("the node returned no token")?;
            say!("{}", token.token);
            Ok(())
        }
        AccessCommand::Revoke { token } => {
            let tokens: Vec<AuthorizationResource> = client.get(TOKENS)?;
            let found = find(&tokens, &token)?;
            let path = format!("{TOKENS}/{}", segment(&found.id.to_string()));
            let revoked: AuthorizationResource = client.delete(&path)?;
            say!("Revoking {}... done", revoked.description);
            Ok(())
        }
    }
}

fn list(client: &ApiClient, output: OutputOption) -> anyhow::Result<()> {
    let tokens: Vec<AuthorizationResource> = client.get(TOKENS)?;
    if output.json {
        return print_json(&tokens);
    }
    let headings = ["ID", "Name", "Token", "Created", "Last used", "Expires"];
    let rows = tokens.into_iter().map(|token| {
        let access = token.access_token;
        let expires = access.as_ref().and_then(|access| access.expires_in);
        [
            token.id.to_string(),
            token.description,
            or_dash(access.map(|access| access.token)),
            token.created_at.to_string(),
            or_dash(token.last_used_at),
            expires.map_or_else(|| "never".to_owned(), remaining),
        ]
    });
    Ok(Table::new(headings).with_rows(rows).print()?)
}

/// Returns the time until a token expires.
fn remaining(seconds: u64) -> String {
    match seconds {
        0 => "expired".to_owned(),
        _ if seconds < 2 * DAY => format!("in {} h", seconds.div_ceil(60 * 60)),
        _ => format!("in {} days", seconds.div_ceil(DAY)),
    }
}

/// Finds a token by its key or its name.
fn find<'a>(
    tokens: &'a [AuthorizationResource],
    wanted: &str,
) -> anyhow::Result<&'a AuthorizationResource> {
    if let Some(token) = tokens.iter().find(|token| token.id.to_string() == wanted) {
        return Ok(token);
    }
    let mut named = tokens.iter().filter(|token| token.description == wanted);
    match (named.next(), named.next()) {
        (Some(token), None) => Ok(token),
        (Some(_), Some(_)) => {
            bail!(
                "{wanted}: several tokens have this name; name one by its ID (corundum access:tokens)"
            )
        }
        (None, _) => bail!("{wanted}: no such token; corundum access:tokens lists them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_until_expiry_is_rounded() {
        assert_eq!(remaining(0), "expired");
        assert_eq!(remaining(1), "in 1 h");
        assert_eq!(remaining(47 * 3600), "in 47 h");
        assert_eq!(remaining(366 * DAY), "in 366 days");
    }
}

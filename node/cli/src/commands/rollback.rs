//! `rollback`.

use clap::Args;
use corundum_abi::names::ReleaseVersion;
use corundum_api::Identity;
use corundum_api::release::{ReleaseCreate, ReleaseResource};

use super::apps::print_url;
use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};
use crate::output::say;

/// Make an older release the current one, under a new number
///
/// Restores the slug and the config vars of the older release. The repository on the node stays as it is.
///
/// Example: corundum rollback v12
#[derive(Args)]
pub struct RollbackArguments {
    /// Release to restore, as v12 [default: the previous one]
    version: Option<String>,
    #[command(flatten)]
    app: AppOption,
}

/// Runs `rollback`.
pub(super) fn run(arguments: RollbackArguments, client: &ApiClient) -> anyhow::Result<()> {
    let app = arguments.app.name()?;
    let version = arguments
        .version
        .map(|version| version.parse::<ReleaseVersion>());
    let request = ReleaseCreate {
        release: version.transpose()?.map(Identity::Name),
    };
    let release: ReleaseResource = client.post(&app_path(&app, "/releases"), &request)?;
    say!(
        "Rolling back {app}... done, {} ({})",
        release.version,
        release.description
    );
    print_url(&client.get(&app_path(&app, ""))?)
}

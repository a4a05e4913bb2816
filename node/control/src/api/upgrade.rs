//! The endpoint of upgrades.

use super::response::{ApiResult, ok};
use crate::upgrade::UpgradeOverview;

/// Answers the state of the last upgrade.
pub(super) async fn get(overview: &UpgradeOverview) -> ApiResult {
    ok(&overview.resource().await?)
}

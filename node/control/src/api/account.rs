//! Endpoint of the account.

use corundum_api::account::AccountResource;
use corundum_store::Store;

use super::resources::time;
use super::response::{ApiResult, ok};

/// Answers the account.
pub(super) fn get(store: &dyn Store) -> ApiResult {
    let account = store.account()?;
    let newest = store.tokens()?.pop();
    let last_login = newest.map(|token| time(&token.created_at)).transpose()?;
    let created_at = time(&account.created_at)?;
    ok(&AccountResource {
        id: account.id,
        email: account.email,
        name: None,
        allow_tracking: false,
        beta: false,
        country_of_residence: None,
        created_at,
        default_organization: None,
        default_team: None,
        delinquent_at: None,
        federated: false,
        identity_provider: None,
        last_login,
        sms_number: None,
        suspended_at: None,
        two_factor_authentication: false,
        updated_at: created_at,
        verified: true,
    })
}

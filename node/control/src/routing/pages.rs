//! The pages of its own that an app shows when it fails or is in maintenance: those that its config vars name, or else those
//! that its slug has.

use bytes::Bytes;
use corundum_router::custom_error_pages::{CustomErrorPages, framed};
use corundum_router::files::StaticFiles;

use corundum_store::ConfigVars;

/// The config vars that name pages, as on Heroku, and the files of `public/` that are shown without them.
const ERROR: (&str, &str) = ("ERROR_PAGE_URL", "/503.html");
const MAINTENANCE: (&str, &str) = ("MAINTENANCE_PAGE_URL", "/maintenance.html");

/// An app's own pages.
pub(crate) fn of(config: &ConfigVars, files: Option<&StaticFiles>) -> CustomErrorPages {
    let page = |(variable, file): (&str, &str)| -> Option<Bytes> {
        let named = config.get(variable).and_then(|url| framed(url));
        named.or_else(|| files?.content(file))
    };
    CustomErrorPages {
        error: page(ERROR),
        maintenance: page(MAINTENANCE),
    }
}

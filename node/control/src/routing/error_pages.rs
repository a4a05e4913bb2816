//! Custom error pages of an app: those that its config vars name, or else those of its slug.

use bytes::Bytes;
use corundum_router::custom_error_pages::{CustomErrorPages, framed};
use corundum_router::files::StaticFiles;
use corundum_store::ConfigVars;

/// The config var that names a page, as on Heroku, and the file of `public/` that is shown without it.
const ERROR: (&str, &str) = ("ERROR_PAGE_URL", "/503.html");
const MAINTENANCE: (&str, &str) = ("MAINTENANCE_PAGE_URL", "/maintenance.html");

/// Returns the custom pages of an app with these config vars and static files.
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

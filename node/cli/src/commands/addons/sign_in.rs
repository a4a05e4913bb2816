//! The page that signs a user in at an add-on's provider: a file with a form that the browser sends at once.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use corundum_api::addon::AddonSignIn;

/// Writes the page to a new file, which only its owner can read, and returns its path.
pub(super) fn write_page(form: &AddonSignIn) -> anyhow::Result<PathBuf> {
    let file = tempfile::Builder::new()
        .prefix("corundum-addon-")
        .suffix(".html")
        .tempfile();
    let mut file = file.context("cannot create a temporary file")?;
    file.write_all(page(form).as_bytes())?;
    // The browser reads it after this process has ended.
    Ok(file.keep()?.1)
}

fn page(form: &AddonSignIn) -> String {
    let fields = form.params.iter().map(|(name, value)| {
        let (name, value) = (escaped(name), escaped(value));
        format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\">\n")
    });
    let fields: String = fields.collect();
    let action = escaped(&form.action);
    format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<title>Signing in</title>\n\
         <form method=\"post\" action=\"{action}\">\n{fields}<button>Continue to {action}</button>\n</form>\n\
         <script>document.forms[0].submit()</script>\n"
    )
}

/// Returns text as the value of an attribute of HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_leave_their_attributes() {
        let form = AddonSignIn {
            method: "post".to_owned(),
            action: "https://p.example/sso".to_owned(),
            params: [("app".to_owned(), "\"><script>x".to_owned())].into(),
        };
        let page = page(&form);
        assert!(
            page.contains("value=\"&quot;&gt;&lt;script&gt;x\""),
            "{page}"
        );
        assert_eq!(page.matches("<script>").count(), 1);
    }
}

//! An app's own error and maintenance pages, in place of the router's.

use bytes::Bytes;

use crate::failure::Failure;

/// HTML documents of an app that replace the router's error pages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CustomErrorPages {
    /// Page for failures of the app: H10 to H20.
    pub error: Option<Bytes>,
    /// Page for maintenance: H80.
    pub maintenance: Option<Bytes>,
}

impl CustomErrorPages {
    /// Returns the app's page for a failure of the app. The router's own pages report invalid requests and failures of
    /// the node.
    pub(crate) fn of(&self, failure: &Failure) -> Option<&Bytes> {
        match failure.code() {
            "H80" => self.maintenance.as_ref(),
            "H20" => self.error.as_ref(),
            code if code.starts_with("H1") => self.error.as_ref(),
            _ => None,
        }
    }
}

/// Builds a page that shows `url` in a frame that fills the window, as Heroku does. Returns none unless `url` is an
/// http or https URL without credentials.
///
/// The visitor's browser fetches the framed page. The router does not, so an app cannot make it request addresses that
/// only the node can reach, and a slow page delays no request.
pub fn framed(url: &str) -> Option<Bytes> {
    let uri: http::Uri = url.parse().ok()?;
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    if !web
        || uri
            .authority()
            .is_none_or(|authority| authority.as_str().contains('@'))
    {
        return None;
    }
    let mut escaped = String::with_capacity(url.len());
    for c in url.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Unavailable</title>\
<style>html,body,iframe{{margin:0;border:0;padding:0;display:block;width:100vw;height:100vh;background:#fff}}</style></head>\
<body><iframe src=\"{escaped}\" title=\"Unavailable\"></iframe></body></html>\n"
    );
    Some(page.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framed_url_is_escaped() {
        let page = framed("https://a.example/down.html?a=1&b='x'").unwrap();
        let page = String::from_utf8(page.to_vec()).unwrap();
        assert!(
            page.contains("src=\"https://a.example/down.html?a=1&amp;b=&#39;x&#39;\""),
            "{page}"
        );
        for url in [
            "",
            "/down.html",
            "javascript:alert(1)",
            "ftp://a.example/",
            "https://user:secret@a.example/",
            "https://a.example/\"><script>",
            "data:text/html,x",
        ] {
            assert!(
                framed(url).is_none_or(|page| !page.windows(7).any(|w| w == b"<script")),
                "{url}"
            );
        }
        assert!(
            framed("javascript:alert(1)").is_none() && framed("https://u:p@a.example/").is_none()
        );
    }

    #[test]
    fn custom_pages_replace_only_failures_of_the_app() {
        let pages = CustomErrorPages {
            error: Some("error".into()),
            maintenance: Some("maintenance".into()),
        };
        assert_eq!(pages.of(&Failure::AppCrashed).unwrap(), "error");
        assert_eq!(pages.of(&Failure::BootTimeout).unwrap(), "error");
        assert_eq!(pages.of(&Failure::Maintenance).unwrap(), "maintenance");
        for failure in [
            Failure::ConnectionLimit,
            Failure::BlankApp,
            Failure::NoSuchApp,
        ] {
            assert_eq!(pages.of(&failure), None, "{failure:?}");
        }
    }
}

//! A grid whose apps are a closure.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use corundum_abi::cgi::ResponseHead;
use corundum_abi::names::{AppName, ReleaseVersion};
use corundum_abi::scgi::RequestHead;
use corundum_exchange::{DynoBody, RequestBody, RequestUsage};
use corundum_router::compress::Compression;
use corundum_router::failure::Failure;
use corundum_router::grid::{Dispatched, Grid};
use corundum_router::log_line::RouterLogLine;
use corundum_router::virtual_host::VirtualHost;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http::HeaderValue;

/// A request whose body the app has not read.
pub struct UnreadRequest {
    /// The app.
    pub app: String,
    /// The head in the form of the dyno ABI.
    pub head: RequestHead,
    /// The body.
    pub body: RequestBody,
    /// Counters that the app may keep for its test.
    pub observed: Arc<Observations>,
}

/// A request with its whole body.
#[derive(Debug, Clone, Default)]
pub struct AppRequest {
    /// The app.
    pub app: String,
    /// CGI variables by name.
    pub fields: HashMap<String, Vec<u8>>,
    /// The body.
    pub body: Vec<u8>,
}

impl AppRequest {
    /// Returns the value of a CGI variable, empty if the request does not have it.
    pub fn get(&self, name: &str) -> String {
        let value = self.fields.get(name).map(Vec::as_slice).unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    }
}

/// Response of an app.
pub struct AppResponse {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: Vec<(Bytes, Bytes)>,
    /// The body.
    pub body: DynoBody,
}

impl AppResponse {
    /// Makes a response with a whole body.
    pub fn new(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let owned = |text: &str| Bytes::from(text.to_owned());
        Self {
            status,
            headers: headers
                .iter()
                .map(|(name, value)| (owned(name), owned(value)))
                .collect(),
            body: DynoBody::Full(owned(body)),
        }
    }

    /// Makes a page that is fresh for a minute.
    pub fn page(body: &str) -> Self {
        Self::new(200, &[("Cache-Control", "max-age=60")], body)
    }
}

/// An app, or several that differ by [`UnreadRequest::app`].
pub type FakeApp =
    Box<dyn Fn(UnreadRequest) -> BoxFuture<'static, Result<AppResponse, Failure>> + Send + Sync>;

/// Makes an app that answers without waiting.
pub fn app(respond: impl Fn(&AppRequest) -> AppResponse + Send + Sync + 'static) -> FakeApp {
    async_app(move |request| {
        let response = respond(&request);
        async move { Ok(response) }
    })
}

/// Makes an app that may wait and may fail.
pub fn async_app<F>(respond: impl Fn(AppRequest) -> F + Send + Sync + 'static) -> FakeApp
where
    F: Future<Output = Result<AppResponse, Failure>> + Send + 'static,
{
    let respond = Arc::new(respond);
    Box::new(move |request| {
        let respond = respond.clone();
        Box::pin(async move {
            let request = AppRequest {
                app: request.app,
                fields: fields(&request.head),
                body: read(request.body).await?.to_vec(),
            };
            respond(request).await
        })
    })
}

/// Returns the CGI variables of a head.
pub fn fields(head: &RequestHead) -> HashMap<String, Vec<u8>> {
    let bytes = head.as_bytes();
    let colon = bytes.iter().position(|byte| *byte == b':').unwrap();
    let parts: Vec<&[u8]> = bytes[colon + 1..].split(|byte| *byte == 0).collect();
    let pairs = parts.chunks_exact(2);
    pairs
        .map(|pair| {
            (
                String::from_utf8_lossy(pair[0]).into_owned(),
                pair[1].to_vec(),
            )
        })
        .collect()
}

/// Reads the whole body of a request.
///
/// # Errors
///
/// Returns H27 if the client does not send the whole body.
pub async fn read(body: RequestBody) -> Result<Bytes, Failure> {
    let mut all = Vec::new();
    match body {
        RequestBody::Empty | RequestBody::Connection(_) => {}
        RequestBody::Full(bytes) => return Ok(bytes),
        RequestBody::Stream(mut stream) => {
            while let Some(part) = stream.next().await {
                all.extend_from_slice(&part.map_err(|_| Failure::ClientInterrupted)?);
            }
        }
    }
    Ok(all.into())
}

/// Counters that apps keep for their test.
#[derive(Debug, Default)]
pub struct Observations {
    /// Requests in the order of their arrival, as the app describes them.
    pub requests: Mutex<Vec<String>>,
    /// Dynos that have a request.
    pub busy: AtomicU32,
    /// Bytes of response bodies that the router has taken.
    pub written: AtomicU32,
}

/// Host names that the grid serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServedHosts {
    /// `APP.example`, and all names under it.
    Example,
    /// Any name: its first label is the app, or `app` if that is not an app name.
    All,
}

/// Settings of all apps.
#[derive(Debug, Clone, Default)]
pub struct AppSettings {
    /// The release, by its version and the version of its content.
    pub release: Option<(ReleaseVersion, Option<u64>)>,
    /// Compression of responses.
    pub compression: Compression,
    /// Limit of request bodies in bytes.
    pub max_body: Option<u64>,
    /// Value of `Strict-Transport-Security`.
    pub hsts: Option<HeaderValue>,
}

/// Release of responses if the settings do not name one.
const DEFAULT_RELEASE: ReleaseVersion = ReleaseVersion(6);

/// A grid whose apps are a closure.
pub struct FakeGrid {
    app: FakeApp,
    hosts: ServedHosts,
    settings: Mutex<AppSettings>,
    /// A node keeps one for each host too: counters and limits of the app live in it.
    sites: Mutex<HashMap<String, Arc<VirtualHost>>>,
    requests: AtomicUsize,
    lines: Mutex<Vec<String>>,
    /// Counters of the app.
    pub observed: Arc<Observations>,
}

impl FakeGrid {
    /// Makes a grid that serves `hosts` with `app`.
    pub fn new(app: FakeApp, hosts: ServedHosts, settings: AppSettings) -> Self {
        Self {
            app,
            hosts,
            settings: Mutex::new(settings),
            sites: Mutex::default(),
            requests: AtomicUsize::new(0),
            lines: Mutex::default(),
            observed: Arc::default(),
        }
    }

    /// Changes the settings of all apps.
    pub fn configure(&self, change: impl FnOnce(&mut AppSettings)) {
        change(&mut self.settings.lock().unwrap());
        self.sites.lock().unwrap().clear();
    }

    /// Counts the requests that the router has dispatched.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Returns the lines of the router's log.
    pub fn log(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn site(&self, app: AppName) -> VirtualHost {
        let settings = self.settings.lock().unwrap().clone();
        let mut site = VirtualHost::new(app);
        if let Some((release, content_version)) = settings.release {
            (site.release, site.content_version) = (Some(release), content_version);
        }
        site.compression = settings.compression;
        site.max_body = settings.max_body.unwrap_or(site.max_body);
        site.https.hsts = settings.hsts;
        site
    }
}

impl Grid for FakeGrid {
    fn route(&self, host: &str) -> Option<Arc<VirtualHost>> {
        let app: AppName = match self.hosts {
            ServedHosts::Example => {
                let labels = host.strip_suffix(".example")?;
                labels.rsplit('.').next()?.parse().ok()?
            }
            ServedHosts::All => {
                let label = host.split('.').next().unwrap_or_default();
                label.parse().unwrap_or_else(|_| "app".parse().unwrap())
            }
        };
        let mut sites = self.sites.lock().unwrap();
        let site = sites
            .entry(host.to_owned())
            .or_insert_with(|| Arc::new(self.site(app)));
        Some(site.clone())
    }

    async fn dispatch(
        &self,
        app: &AppName,
        head: RequestHead,
        body: RequestBody,
    ) -> Result<Dispatched, Failure> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let release = self.settings.lock().unwrap().release;
        let request = UnreadRequest {
            app: app.to_string(),
            head,
            body,
            observed: self.observed.clone(),
        };
        let response = (self.app)(request).await?;
        let usage = Arc::new(RequestUsage::default());
        usage.record(Duration::from_millis(3), 4096);
        Ok(Dispatched {
            head: ResponseHead {
                status: response.status,
                headers: response.headers,
            },
            body: response.body,
            dyno: "web.1".parse().unwrap(),
            release: release.map_or(DEFAULT_RELEASE, |(release, _)| release),
            queue: Duration::ZERO,
            usage,
        })
    }

    fn log(&self, _app: &AppName, line: RouterLogLine) {
        self.lines.lock().unwrap().push(line.to_string());
    }
}

//! Finds the handler of a request.

use std::sync::Arc;

use corundum_abi::names::AppName;
use corundum_host::grid::DynoGrid;
use corundum_router::cache::Cache;
use corundum_router::metrics::MetricsRegistry;
use corundum_store::Store;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use super::apps::AppListing;
use super::error::ApiError;
use super::response::{ApiBody, ApiResult, drain, json_response, ok, read, text};
use super::{
    acme, apps, auth, autoscale, cache, certs, config_vars, domains, drains, dynos, login, metrics,
    releases, settings, streams,
};
use crate::acme::AcmeManager;
use crate::app_urls::AppUrls;
use crate::apps::Apps;
use crate::apps::autoscale::Autoscaler;
use crate::apps::formation::Formations;
use crate::apps::settings::AppSettings;
use crate::certs::AppCerts;
use crate::data_dir::DataDir;
use crate::domains::Domains;
use crate::drains::LogDrains;
use crate::git::http_backend::{GitBackend, repository_of};
use crate::logs::Logs;
use crate::releases::changes::ReleaseChanges;
use crate::routing::view::RouterView;

/// The parts of a node that the API's handlers work with. A handler gets only those that it needs.
pub struct ApiParts {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The data directory.
    pub data: Arc<DataDir>,
    /// The grid.
    pub grid: DynoGrid,
    /// The router's view of apps.
    pub view: Arc<RouterView>,
    /// The apps' URLs.
    pub urls: AppUrls,
    /// The apps' logs.
    pub logs: Arc<Logs>,
    /// The apps' metrics.
    pub metrics: Arc<MetricsRegistry>,
    /// The HTTP cache.
    pub cache: Arc<Cache>,
    /// Git's repositories.
    pub git: GitBackend,
    /// The apps.
    pub apps: Apps,
    /// The formations.
    pub formations: Arc<Formations>,
    /// The autoscaler.
    pub autoscaler: Arc<Autoscaler>,
    /// Config var changes and rollbacks.
    pub changes: ReleaseChanges,
    /// The domains.
    pub domains: Domains,
    /// The added certificates.
    pub certs: AppCerts,
    /// The automatic certificates.
    pub acme: Arc<AcmeManager>,
    /// The settings.
    pub settings: AppSettings,
    /// The log drains.
    pub drains: Arc<LogDrains>,
}

/// Answers the API's requests.
pub struct Api(ApiParts);

impl Api {
    /// Creates the API from its parts.
    pub fn new(parts: ApiParts) -> Self {
        Self(parts)
    }

    /// Answers a request.
    pub(crate) async fn respond(&self, request: Request<Incoming>) -> Response<ApiBody> {
        let path = request.uri().path().to_owned();
        if let Some((app, rest)) = repository_of(&path) {
            return self.git(&app, rest, request).await;
        }
        let result = self.endpoint(request, &path).await;
        result.unwrap_or_else(|error| {
            let value = json!({"error": {"id": error.id, "message": error.message}});
            json_response(error.status, &value)
        })
    }

    async fn git(
        &self,
        app: &AppName,
        rest: &str,
        request: Request<Incoming>,
    ) -> Response<ApiBody> {
        if !auth::is_authorized(&*self.0.store, request.headers()) {
            let mut response = text(
                StatusCode::UNAUTHORIZED,
                "A token is needed: corundum login\n",
            );
            let challenge = HeaderValue::from_static("Basic realm=\"corundum\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            return response;
        }
        let served = self.0.git.serve(app, rest, request).await;
        served.unwrap_or_else(|error| {
            tracing::warn!(%app, %error, "could not serve git");
            text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n"))
        })
    }

    async fn endpoint(&self, request: Request<Incoming>, path: &str) -> ApiResult {
        let parts = &self.0;
        if parts.data.is_handed_over() && request.method() != Method::GET {
            return Err(ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "restarting",
                "The node is being restarted: try again",
            ));
        }
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let method = request.method().clone();
        if segments == ["v1", "login"] && method == Method::GET {
            return ok(&json!({"socket": login::socket_path(parts.data.path())}));
        }
        if !auth::is_authorized(&*parts.store, request.headers()) {
            return Err(ApiError::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "A valid token is needed: corundum login",
            ));
        }
        match (&method, segments.as_slice()) {
            (&Method::GET, ["v1", "apps"]) => apps::list(&self.listing()),
            (&Method::POST, ["v1", "apps"]) => {
                apps::create(&parts.apps, &self.listing(), request).await
            }
            (&Method::GET, ["v1", "cache"]) => ok(&cache::of_all(&parts.cache)),
            (_, ["v1", "apps", name, rest @ ..]) => {
                let app: AppName = name.parse().map_err(ApiError::invalid)?;
                parts.store.app(&app)?;
                self.app_endpoint(&method, &app, rest, request).await
            }
            _ => Err(ApiError::new(
                StatusCode::NOT_FOUND,
                "not_found",
                format!("{method} {path} is not served"),
            )),
        }
    }

    async fn app_endpoint(
        &self,
        method: &Method,
        app: &AppName,
        rest: &[&str],
        request: Request<Incoming>,
    ) -> ApiResult {
        let parts = &self.0;
        match (method, rest) {
            (&Method::GET, []) => {
                let mut info = self.listing().one(app)?;
                info["figures"] = metrics::of_app(&parts.metrics, app);
                info["cache"] = cache::of_app(&parts.cache, app);
                ok(&info)
            }
            (&Method::DELETE, []) => {
                parts.apps.destroy(app)?;
                ok(&json!({"name": app}))
            }
            (&Method::GET, ["config"]) => ok(&json!(parts.store.config(app)?)),
            (&Method::PATCH, ["config"]) => config_vars::change(&parts.changes, app, request).await,
            (&Method::GET, ["releases"]) => ok(&json!(parts.store.releases(app)?)),
            (&Method::POST, ["rollback"]) => {
                releases::roll_back(&parts.changes, app, request).await
            }
            (_, ["drains"]) => drains::serve(&parts.drains, method, app, request).await,
            (_, ["domains", rest @ ..]) => {
                domains::serve(&parts.domains, method, app, rest, request).await
            }
            (_, ["cache", rest @ ..]) => {
                cache::serve(&parts.cache, method, app, rest, request).await
            }
            (_, ["certs", rest @ ..]) => {
                certs::serve(&parts.certs, method, app, rest, request).await
            }
            (_, ["certs-auto", rest @ ..]) => acme::serve(&parts.acme, method, app, rest),
            (_, ["settings"]) => settings::serve(&parts.settings, method, app, request).await,
            (&Method::GET, ["dynos"]) => ok(&dynos::list(&parts.grid, &parts.metrics, app)),
            (&Method::POST, ["restart"]) => {
                drain(request).await;
                parts.grid.restart(app);
                ok(&json!({}))
            }
            (&Method::PATCH, ["formation"]) => dynos::scale(&parts.formations, app, request).await,
            (_, ["autoscale"]) => autoscale::serve(&parts.autoscaler, method, app, request).await,
            (&Method::GET, ["logs"]) => {
                let query = request.uri().query().unwrap_or_default();
                Ok(streams::logs(&parts.logs, app, query))
            }
            (&Method::POST, ["run"]) => {
                let run: streams::Run = read(request).await?;
                Ok(streams::run(parts.grid.clone(), app, run.command))
            }
            _ => Err(ApiError::no_endpoint()),
        }
    }

    fn listing(&self) -> AppListing<'_> {
        AppListing {
            store: &*self.0.store,
            view: &self.0.view,
            urls: &self.0.urls,
            autoscaler: &self.0.autoscaler,
        }
    }
}

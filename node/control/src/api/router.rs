//! Finds the handler of a request.

use std::sync::Arc;

use corundum_abi::names::AppName;
use corundum_api::{ErrorId, Identity};
use corundum_host::grid::DynoGrid;
use corundum_router::cache::Cache;
use corundum_router::metrics::MetricsRegistry;
use corundum_store::{AppRecord, Store, TokenRecord};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;

use super::addon_backups::AddonBackupParts;
use super::addons::AddonEndpoints;
use super::dynos::DynoParts;
use super::error::ApiError;
use super::formation::FormationParts;
use super::outbound::OutboundParts;
use super::resources::AppResources;
use super::response::{ApiBody, ApiResult, text};
use super::storage::StorageParts;
use super::volume_snapshots::VolumeSnapshotParts;
use super::{
    account, acm, addon_backups, addons, apps, auth, authorizations, autoscale, builds, cache,
    config_vars, cron, domains, dynos, formation, log_drains, log_sessions, login, metrics,
    outbound, providers, releases, run, settings, sni_endpoints, storage, tunnel, upgrade, usage,
    volume_snapshots,
};
use crate::acme::AcmeManager;
use crate::app_urls::AppUrls;
use crate::apps::Apps;
use crate::apps::autoscale::Autoscaler;
use crate::apps::formation::Formations;
use crate::apps::settings::SettingsManager;
use crate::builds::Builder;
use crate::certs::AppCerts;
use crate::connections::places::{NoPlace, Place};
use crate::data_dir::DataDir;
use crate::domains::Domains;
use crate::drains::LogDrains;
use crate::git::http_backend::{GitBackend, repository_of};
use crate::logs::Logs;
use crate::logs::sessions::LogSessions;
use crate::outbound::OutboundPolicies;
use crate::processes::Processes;
use crate::releases::changes::ReleaseChanges;
use crate::routing::view::RouterView;
use crate::services::addons::Addons;
use crate::services::backups::AddonBackups;
use crate::upgrade::UpgradeOverview;
use crate::volumes::Volumes;

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
    /// The log sessions.
    pub log_sessions: LogSessions,
    /// The apps' metrics.
    pub metrics: Arc<MetricsRegistry>,
    /// The HTTP cache.
    pub cache: Arc<Cache>,
    /// Git's repositories.
    pub git: GitBackend,
    /// The apps.
    pub apps: Apps,
    /// The builder.
    pub builder: Arc<Builder>,
    /// The formations.
    pub formations: Arc<Formations>,
    /// The processes beside web.
    pub processes: Arc<Processes>,
    /// The autoscaler.
    pub autoscaler: Arc<Autoscaler>,
    /// Config var changes and rollbacks.
    pub changes: Arc<ReleaseChanges>,
    /// The add-ons.
    pub addons: Arc<Addons>,
    /// The backups of add-ons.
    pub backups: Arc<AddonBackups>,
    /// The volumes.
    pub volumes: Arc<Volumes>,
    /// The domains.
    pub domains: Domains,
    /// The added certificates.
    pub certs: AppCerts,
    /// The automatic certificates.
    pub acme: Arc<AcmeManager>,
    /// The settings.
    pub settings: SettingsManager,
    /// The log drains.
    pub drains: Arc<LogDrains>,
    /// The policies for connections that apps open.
    pub outbound: Arc<OutboundPolicies>,
    /// The disk.
    pub storage: StorageParts,
    /// The last upgrade.
    pub upgrade: UpgradeOverview,
}

/// Answers the API's requests.
pub struct Api(ApiParts);

impl Api {
    /// Creates the API from its parts.
    pub fn new(parts: ApiParts) -> Self {
        Self(parts)
    }

    /// Answers a request of the connection at `place`.
    pub(crate) async fn respond(
        &self,
        request: Request<Incoming>,
        place: &Arc<Place>,
    ) -> Response<ApiBody> {
        let path = request.uri().path().to_owned();
        if let Some((app, rest)) = repository_of(&path) {
            return self.git(&app, rest, request, place).await;
        }
        let result = self.endpoint(request, &path, place).await;
        result.unwrap_or_else(ApiError::into_response)
    }

    /// Returns whether another process takes the node over.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.0.data.is_handed_over()
    }

    /// Waits until another process takes the node over.
    pub(crate) async fn handed_over(&self) {
        self.0.data.handed_over().await;
    }

    /// Checks a request's token and gives its connection the place of a client.
    fn authorize(&self, headers: &HeaderMap, place: &Place) -> Result<(), ApiError> {
        let token = auth::valid_token(&*self.0.store, headers).ok_or_else(|| {
            let message = "A valid token is needed: corundum login";
            ApiError::new(ErrorId::Unauthorized, message)
        })?;
        self.admit(place, &token)
    }

    /// Gives the connection of a token's owner the place of a client.
    fn admit(&self, place: &Place, token: &TokenRecord) -> Result<(), ApiError> {
        admit(place, &token.id.to_string())?;
        // The store belongs to the other process after a hand-over.
        if !self.0.data.is_handed_over() {
            auth::note_use(&*self.0.store, token);
        }
        Ok(())
    }

    async fn git(
        &self,
        app: &AppName,
        rest: &str,
        request: Request<Incoming>,
        place: &Arc<Place>,
    ) -> Response<ApiBody> {
        let Some(token) = auth::valid_token(&*self.0.store, request.headers()) else {
            let mut response = text(
                StatusCode::UNAUTHORIZED,
                "A token is needed: corundum login\n",
            );
            let challenge = HeaderValue::from_static("Basic realm=\"corundum\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            return response;
        };
        if let Err(error) = self.admit(place, &token) {
            return error.into_response();
        }
        let served = self.0.git.serve(app, rest, request, place.clone()).await;
        served.unwrap_or_else(|error| {
            tracing::warn!(%app, %error, "could not serve git");
            text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n"))
        })
    }

    async fn endpoint(
        &self,
        request: Request<Incoming>,
        path: &str,
        place: &Arc<Place>,
    ) -> ApiResult {
        let parts = &self.0;
        let method = request.method().clone();
        let segments = segments(path)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        // A log session changes nothing in the data directory, and the command line opens it on the same connection.
        let is_read = match segments[..] {
            ["v1", "apps", _, "log-sessions"] => true,
            // It begins as a read and becomes a command.
            ["v1", "apps", _, "run"] | ["v1", "apps", _, "addons", _, "tunnel"] => false,
            _ => method == Method::GET,
        };
        if parts.data.is_handed_over() && !is_read {
            let message = "The node is being restarted: try again";
            return Err(ApiError::new(ErrorId::Restarting, message));
        }
        if segments == ["v1", "login"] && method == Method::GET {
            return login::resource(parts.data.path());
        }
        // The secret takes the token's place.
        if let (&Method::GET, ["v1", "log-sessions", secret]) = (&method, &segments[..]) {
            let log = log_sessions::stream(&parts.log_sessions, &parts.logs, &*parts.store, secret);
            // The places of all sessions together are those of one client.
            return log.and_then(|log| admit(place, "log session").map(|()| log));
        }
        // So do the credentials of a provider.
        if let ["v1", "provider", "addons", rest @ ..] = &segments[..] {
            let service = providers::service_of(self.addons(), request.headers())?;
            admit(place, &format!("provider {}", service.names().name))?;
            return providers::serve(self.addons(), &**service, &method, rest, request).await;
        }
        self.authorize(request.headers(), place)?;
        match segments.as_slice() {
            ["v1", "account"] if method == Method::GET => account::get(&*parts.store),
            ["v1", "oauth", "authorizations", rest @ ..] => {
                authorizations::serve(&*parts.store, &method, rest, request).await
            }
            ["v1", "addons", rest @ ..] => {
                addons::serve(self.addons(), &method, None, rest, request).await
            }
            ["v1", "addon-attachments", rest @ ..] => {
                addons::serve_attachments(self.addons(), &method, None, rest, request).await
            }
            ["v1", "addon-services", rest @ ..] if method == Method::GET => {
                addons::serve_services(&parts.addons, rest)
            }
            ["v1", "cache"] if method == Method::GET => {
                cache::of_all_apps(&parts.cache, &*parts.store)
            }
            ["v1", "storage", rest @ ..] => {
                storage::serve(&parts.storage, &method, rest, request).await
            }
            ["v1", "usage"] if method == Method::GET => {
                usage::list(&*parts.store, None, request.uri())
            }
            ["v1", "upgrade"] if method == Method::GET => upgrade::get(&parts.upgrade).await,
            ["v1", "apps"] => {
                apps::serve_all(&parts.apps, &self.resources(), &method, request).await
            }
            ["v1", "apps", identity, rest @ ..] => {
                let app = self.find_app(identity)?;
                if matches!(rest, ["run"]) && method == Method::GET {
                    return run::upgrade(&parts.grid, &app, place, request);
                }
                if let (["addons", identity, "tunnel"], &Method::GET) = (rest, &method) {
                    let addon = parts.addons.find(Some(&app.name), identity)?;
                    return tunnel::upgrade(&parts.addons, &addon, place, request).await;
                }
                self.app_endpoint(&method, &app, rest, request).await
            }
            _ => Err(ApiError::new(
                ErrorId::NotFound,
                format!("{method} {path} is not served"),
            )),
        }
    }

    /// Finds an app by its key or its name.
    fn find_app(&self, identity: &str) -> Result<AppRecord, ApiError> {
        let app = match identity.parse().map_err(ApiError::invalid)? {
            Identity::Id(id) => self.0.store.app_by_id(id),
            Identity::Name(name) => self.0.store.app(&name),
        };
        Ok(app?)
    }

    async fn app_endpoint(
        &self,
        method: &Method,
        app: &AppRecord,
        rest: &[&str],
        request: Request<Incoming>,
    ) -> ApiResult {
        let parts = &self.0;
        let (store, resources) = (&*parts.store, self.resources());
        match rest {
            [] => {
                let served = apps::serve(
                    &parts.apps,
                    &parts.settings,
                    &resources,
                    method,
                    app,
                    request,
                )
                .await;
                if method == Method::DELETE {
                    // The app's add-ons have lost their owner.
                    parts.addons.wake();
                }
                served
            }
            ["acm"] => {
                let (acme, settings) = (&parts.acme, &parts.settings);
                acm::serve(acme, settings, &resources, method, app, request).await
            }
            ["addons", rest @ ..] => {
                addons::serve(self.addons(), method, Some(app), rest, request).await
            }
            ["addon-attachments", rest @ ..] => {
                addons::serve_attachments(self.addons(), method, Some(app), rest, request).await
            }
            ["addon-backups", rest @ ..] => {
                addon_backups::serve(self.backups(), method, app, rest, request).await
            }
            ["backup-schedules", rest @ ..] => {
                addon_backups::serve_schedules(self.backups(), method, app, rest, request).await
            }
            ["autoscale"] => {
                autoscale::serve(&parts.autoscaler, &resources, method, app, request).await
            }
            ["autoscale", process] => {
                let scaling = parts.processes.queue_scaling();
                autoscale::serve_queue(scaling, method, app, process, request).await
            }
            ["builds", rest @ ..] => {
                builds::serve(store, &parts.urls, &parts.builder, method, app, rest)
            }
            ["cache", rest @ ..] => cache::serve(&parts.cache, method, app, rest, request).await,
            ["config-vars"] => {
                config_vars::serve(store, &parts.changes, method, app, request).await
            }
            ["cron"] if method == Method::GET => cron::list(&parts.processes, app),
            ["domains", rest @ ..] => {
                domains::serve(&parts.domains, method, app, rest, request).await
            }
            ["dynos", rest @ ..] => {
                let dynos = DynoParts {
                    grid: &parts.grid,
                    processes: &parts.processes,
                    metrics: &parts.metrics,
                    store,
                };
                dynos::serve(dynos, method, app, rest, request).await
            }
            ["formation", rest @ ..] => {
                let formation = FormationParts {
                    store,
                    web: &parts.formations,
                    processes: &parts.processes,
                };
                formation::serve(formation, method, app, rest, request).await
            }
            ["formations", process, rest @ ..] => {
                let dynos = DynoParts {
                    grid: &parts.grid,
                    processes: &parts.processes,
                    metrics: &parts.metrics,
                    store,
                };
                dynos::serve_type(&dynos, method, app, process, rest, request).await
            }
            ["log-drains", rest @ ..] => {
                log_drains::serve(&parts.drains, method, app, rest, request).await
            }
            ["log-sessions"] if method == Method::POST => {
                log_sessions::create(&parts.log_sessions, &parts.urls, app, request).await
            }
            ["metrics"] if method == Method::GET => metrics::of_app(&parts.metrics, app),
            ["outbound", rest @ ..] => {
                let outbound = OutboundParts {
                    store,
                    grid: &parts.grid,
                    policies: &parts.outbound,
                };
                outbound::serve(outbound, method, app, rest, request).await
            }
            ["releases", rest @ ..] => {
                releases::serve(store, &parts.changes, method, app, rest, request).await
            }
            ["settings"] => settings::serve(&parts.settings, method, app, request).await,
            ["sni-endpoints", rest @ ..] => {
                sni_endpoints::serve(store, &parts.certs, method, app, rest, request).await
            }
            ["usage"] if method == Method::GET => {
                usage::list(store, Some(&app.name), request.uri())
            }
            ["volume-snapshots", rest @ ..] => {
                let parts = VolumeSnapshotParts {
                    volumes: &parts.volumes,
                    grid: &parts.grid,
                    processes: &parts.processes,
                };
                volume_snapshots::serve(parts, method, app, rest, request).await
            }
            _ => Err(ApiError::no_endpoint()),
        }
    }

    fn addons(&self) -> AddonEndpoints<'_> {
        AddonEndpoints {
            store: &*self.0.store,
            addons: &self.0.addons,
        }
    }

    fn backups(&self) -> AddonBackupParts<'_> {
        AddonBackupParts {
            addons: &self.0.addons,
            backups: &self.0.backups,
        }
    }

    fn resources(&self) -> AppResources<'_> {
        AppResources {
            store: &*self.0.store,
            view: &self.0.view,
            urls: &self.0.urls,
            autoscaler: &self.0.autoscaler,
        }
    }
}

/// Gives a connection the place of a client.
fn admit(place: &Place, client: &str) -> Result<(), ApiError> {
    place.admit(client).map_err(|NoPlace| {
        let message = "Too many connections are open: close some, or try again later";
        ApiError::new(ErrorId::RateLimit, message)
    })
}

/// Splits a path at its slashes and decodes each segment after that, so that a segment may hold a URL.
fn segments(path: &str) -> Result<Vec<String>, ApiError> {
    let decoded = path
        .trim_matches('/')
        .split('/')
        .map(|segment| percent_decode_str(segment).decode_utf8());
    let segments: Result<Vec<String>, _> = decoded
        .map(|segment| segment.map(|text| text.into_owned()))
        .collect();
    segments.map_err(|_| ApiError::new(ErrorId::NotFound, "path: not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::segments;

    #[test]
    fn path_is_split_before_it_is_decoded() {
        let path = "/v1/apps/demo/log-drains/syslog%2Btls%3A%2F%2Flogs.example%3A6514";
        assert_eq!(
            segments(path).unwrap(),
            [
                "v1",
                "apps",
                "demo",
                "log-drains",
                "syslog+tls://logs.example:6514"
            ]
        );
        assert!(segments("/%ff").is_err());
    }
}

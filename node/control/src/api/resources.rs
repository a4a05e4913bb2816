//! Resources of the API, made of the store's records and the node's state.

use corundum_abi::names::{ProcessType, SlugDigest};
use corundum_api::ErrorId;
use corundum_api::app::AppResource;
use corundum_api::formation::FormationResource;
use corundum_api::reference::{AppRef, NamedRef, ReleaseRef, SlugRef, UserRef};
use corundum_api::release::{ReleaseResource, ReleaseStatus};
use corundum_store::{
    AccountRecord, AppRecord, ProcessScales, ReleaseRecord, SettingValues, Store, StoreError,
};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::error::ApiError;
use crate::app_urls::AppUrls;
use crate::apps::autoscale::Autoscaler;
use crate::apps::settings::catalog;
use crate::routing::view::RouterView;

/// The one stack of a node. Heroku's `cnb` and `container` would change how its clients run commands and build.
pub(super) const STACK: &str = "corundum";

/// The generation of the platform that clients know these protocols by.
pub(super) const GENERATION: &str = "cedar";

/// The one region of a node.
const REGION: &str = "local";

/// Makes a key that depends on nothing but its parts: the first 16 bytes of their SHA-256 as a UUID of version 8
/// (RFC 9562 section 5.8).
pub(super) fn derived_id(parts: &[&str]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    first_bytes(&hash.finalize())
}

/// Reads a time of the store.
pub(super) fn time(text: &str) -> Result<Timestamp, ApiError> {
    text.parse().map_err(|error: jiff::Error| {
        ApiError::new(ErrorId::Internal, format!("store: invalid time: {error}"))
    })
}

fn first_bytes(digest: &[u8]) -> Uuid {
    let mut bytes = [0; 16];
    bytes
        .iter_mut()
        .zip(digest)
        .for_each(|(to, from)| *to = *from);
    Uuid::new_v8(bytes)
}

/// Refers to something that a node has one of, by a key that is the same on all nodes.
pub(super) fn named(kind: &str, name: &str) -> NamedRef {
    NamedRef {
        id: derived_id(&[kind, name]),
        name: name.to_owned(),
    }
}

/// Refers to a slug: by the first 16 bytes of its digest.
pub(super) fn slug_ref(slug: &SlugDigest) -> SlugRef {
    let digest: Vec<u8> = (0..32)
        .filter_map(|at| u8::from_str_radix(slug.as_str().get(2 * at..2 * at + 2)?, 16).ok())
        .collect();
    SlugRef {
        id: first_bytes(&digest),
    }
}

/// Refers to an app.
pub(super) fn app_ref(app: &AppRecord) -> AppRef {
    AppRef {
        id: app.id,
        name: app.name.clone(),
    }
}

/// Refers to a release.
pub(super) fn release_ref(release: &ReleaseRecord) -> ReleaseRef {
    ReleaseRef {
        id: release.id,
        version: release.version,
    }
}

/// Refers to the account.
pub(super) fn user_ref(account: &AccountRecord) -> UserRef {
    UserRef {
        id: account.id,
        email: account.email.clone(),
    }
}

/// Parts that the resources of all apps have in common.
struct SharedParts {
    stack: NamedRef,
    generation: NamedRef,
    region: NamedRef,
    owner: UserRef,
}

impl SharedParts {
    fn new(account: &AccountRecord) -> Self {
        Self {
            stack: named("stack", STACK),
            generation: named("generation", GENERATION),
            region: named("region", REGION),
            owner: user_ref(account),
        }
    }
}

/// Makes the resources of apps from the parts of a node that know something of one.
pub(super) struct AppResources<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) view: &'a RouterView,
    pub(super) urls: &'a AppUrls,
    pub(super) autoscaler: &'a Autoscaler,
}

impl AppResources<'_> {
    /// Makes the resources of all apps.
    pub(super) fn all(&self) -> Result<Vec<AppResource>, ApiError> {
        let (apps, account) = (self.store.apps().apps, self.store.account()?);
        // An app whose release cannot be read is listed without it.
        let mut releases = self.store.current_releases()?.releases;
        let mut settings = self.store.all_settings()?;
        let shared = SharedParts::new(&account);
        let mut resources = Vec::with_capacity(apps.len());
        for app in &apps {
            let release = releases.remove(&app.name);
            let settings = settings.remove(&app.name).unwrap_or_default();
            match self.resource(app, release, &settings, &shared) {
                Ok(resource) => resources.push(resource),
                // The listing of the other apps must not depend on a damaged record; readiness reports it.
                Err(error) => tracing::error!(app = %app.name, ?error, "could not list an app"),
            }
        }
        Ok(resources)
    }

    /// Makes the resource of an app.
    pub(super) fn of(&self, app: &AppRecord) -> Result<AppResource, ApiError> {
        // An app whose release cannot be read is listed, so that its owner can push it again or destroy it.
        let release = match self.store.current_release(&app.name) {
            Err(StoreError::UnreadableRelease { .. }) => None,
            release => release?,
        };
        let settings = self.store.settings(&app.name)?;
        let shared = SharedParts::new(&self.store.account()?);
        self.resource(app, release, &settings, &shared)
    }

    fn resource(
        &self,
        app: &AppRecord,
        release: Option<ReleaseRecord>,
        settings: &SettingValues,
        shared: &SharedParts,
    ) -> Result<AppResource, ApiError> {
        let created_at = time(&app.created_at)?;
        let released_at = release.as_ref().map(|release| time(&release.created_at));
        let released_at = released_at.transpose()?;
        Ok(AppResource {
            id: app.id,
            name: app.name.clone(),
            acm: catalog::is_on(settings, &catalog::CERTS_AUTO),
            archived_at: None,
            build_stack: shared.stack.clone(),
            buildpack_provided_description: release.as_ref().map(|_| "Ruby".to_owned()),
            create_status: "complete".to_owned(),
            created_at,
            generation: shared.generation.clone(),
            git_url: self.urls.git(&app.name),
            internal_routing: None,
            maintenance: catalog::is_on(settings, &catalog::MAINTENANCE),
            organization: None,
            owner: shared.owner.clone(),
            region: shared.region.clone(),
            released_at,
            repo_size: None,
            slug_size: None,
            space: None,
            stack: shared.stack.clone(),
            team: None,
            updated_at: released_at.unwrap_or(created_at),
            web_url: Some(self.view.web_url(&app.name, settings)),
            formation: [(ProcessType::web(), app.formation)].into(),
            autoscale: self.autoscaler.rule(&app.name),
            release: release.as_ref().map(release_ref),
            ruby: release.as_ref().and_then(ruby),
            language: release
                .as_ref()
                .map(|release| release.about.runtime.language().to_owned()),
            series: release.map(|release| release.about.runtime.series().to_owned()),
        })
    }
}

/// Returns the series of Ruby that a release runs.
fn ruby(release: &ReleaseRecord) -> Option<String> {
    release
        .about
        .runtime
        .ruby()
        .map(|series| series.to_string())
}

/// Makes the resource of one of an app's releases; `current` is the one that runs.
pub(super) fn release(
    app: &AppRecord,
    release: &ReleaseRecord,
    current: Option<&ReleaseRecord>,
    account: &AccountRecord,
) -> Result<ReleaseResource, ApiError> {
    let created_at = time(&release.created_at)?;
    let current = current.is_some_and(|current| current.id == release.id);
    Ok(ReleaseResource {
        id: release.id,
        addon_plan_names: Vec::new(),
        app: app_ref(app),
        artifacts: Vec::new(),
        created_at,
        current,
        description: release.description.clone(),
        eligible_for_rollback: !current,
        output_stream_url: None,
        slug: Some(slug_ref(&release.slug)),
        status: ReleaseStatus::Succeeded,
        updated_at: created_at,
        user: user_ref(account),
        version: release.version,
        commit: release.commit.clone(),
        ruby: ruby(release),
        language: release.about.runtime.language().to_owned(),
        series: release.about.runtime.series().to_owned(),
    })
}

/// Makes the resource of an app's process type; `release` is the current one, `scales` the types that were scaled.
pub(super) fn formation(
    app: &AppRecord,
    process_type: ProcessType,
    release: Option<&ReleaseRecord>,
    scales: &ProcessScales,
) -> Result<FormationResource, ApiError> {
    let mut scale = scales.get(&process_type).copied().unwrap_or_default();
    if process_type == ProcessType::web() {
        scale.quantity = app.formation;
    }
    let changed_at = release.map_or(&app.created_at, |release| &release.created_at);
    Ok(FormationResource {
        id: derived_id(&["formation", &app.id.to_string(), process_type.as_str()]),
        app: app_ref(app),
        command: release.map_or_else(String::new, |release| command(release, &process_type)),
        created_at: time(&app.created_at)?,
        dyno_size: named("dyno-size", scale.size.as_str()),
        quantity: scale.quantity,
        size: scale.size.to_string(),
        process_type,
        updated_at: time(changed_at)?,
    })
}

/// Returns the command of a process type in a release.
pub(super) fn command(release: &ReleaseRecord, process_type: &ProcessType) -> String {
    if *process_type == ProcessType::web() {
        return release.about.web_command().to_owned();
    }
    let command = release.about.processes.get(process_type);
    command.cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_keys_depend_on_the_boundaries_of_their_parts() {
        let id = derived_id(&["stack", "corundum"]);
        assert_eq!(id, derived_id(&["stack", "corundum"]));
        assert_ne!(id, derived_id(&["stackc", "orundum"]));
        assert_eq!(id.get_version_num(), 8);
    }

    #[test]
    fn slugs_are_named_by_their_digest() {
        let slug: SlugDigest = "ab".repeat(32).parse().unwrap();
        let id = slug_ref(&slug).id.to_string();
        assert_eq!(id, "abababab-abab-8bab-abab-abababababab");
    }
}

//! Endpoints of builds.

use corundum_api::build::{BuildResource, BuildStatus, SourceBlob};
use corundum_api::reference::IdRef;
use corundum_store::{AccountRecord, AppRecord, BuildRecord, BuildState, ReleaseRecord, Store};
use http::{Method, StatusCode};

use super::error::ApiError;
use super::resources::{self, GENERATION, STACK, time};
use super::response::{ApiResult, ok, text};
use crate::app_urls::AppUrls;
use crate::builds::Builder;

/// Serves an app's `builds`.
pub(super) fn serve(
    store: &dyn Store,
    urls: &AppUrls,
    builder: &Builder,
    method: &Method,
    app: &AppRecord,
    rest: &[&str],
) -> ApiResult {
    if method != Method::GET {
        return Err(ApiError::no_endpoint());
    }
    let (builds, releases) = (store.builds(&app.name)?, store.releases(&app.name)?);
    let account = store.account()?;
    let before = builder.builds_before(&app.name);
    let resource = |build: &BuildRecord| {
        let mut resource = resource(urls, app, build, &releases, &account)?;
        resource.builds_before = before.filter(|_| build.state == BuildState::Pending);
        Ok::<_, ApiError>(resource)
    };
    let find = |id: &str| {
        let build = builds.iter().find(|build| build.id.to_string() == id);
        build.ok_or_else(|| {
            let id: String = id.chars().take(80).collect();
            ApiError::not_found("build", format!("Couldn't find that build: {id}"))
        })
    };
    match rest {
        [] => ok(&builds.iter().map(resource).collect::<Result<Vec<_>, _>>()?),
        [id] => ok(&resource(find(id)?)?),
        [id, "output"] => {
            let output = store.build_output(&app.name, find(id)?.id)?;
            Ok(text(StatusCode::OK, &output.unwrap_or_default()))
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

fn resource(
    urls: &AppUrls,
    app: &AppRecord,
    build: &BuildRecord,
    releases: &[ReleaseRecord],
    account: &AccountRecord,
) -> Result<BuildResource, ApiError> {
    let release = releases
        .iter()
        .find(|release| Some(release.version) == build.release);
    Ok(BuildResource {
        id: build.id,
        app: resources::app_ref(app),
        buildpacks: Vec::new(),
        builds_before: None,
        created_at: time(&build.created_at)?,
        generation: GENERATION.to_owned(),
        output_stream_url: format!(
            "http://{}/v1/apps/{}/builds/{}/output",
            urls.api, app.id, build.id
        ),
        release: release.map(|release| IdRef { id: release.id }),
        slug: build.slug.as_ref().map(resources::slug_ref),
        source_blob: SourceBlob {
            version: Some(build.commit.clone()),
            ..SourceBlob::default()
        },
        stack: STACK.to_owned(),
        status: match build.state {
            BuildState::Pending => BuildStatus::Pending,
            BuildState::Succeeded => BuildStatus::Succeeded,
            BuildState::Failed => BuildStatus::Failed,
        },
        updated_at: time(&build.updated_at)?,
        user: resources::user_ref(account),
    })
}

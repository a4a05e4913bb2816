//! Endpoints of add-ons, their attachments, services and plans.

use std::sync::Arc;

use corundum_api::addon::{
    AddonAttachmentCreate, AddonAttachmentResource, AddonCreate, AddonDelete, AddonFact,
    AddonPlanResource, AddonResource, AddonServiceResource, AddonSignIn, AddonUpdate,
    AttachedAddon, PlanPrice,
};
use corundum_api::reference::{AppRef, NamedRef};
use corundum_store::{AddonAttachmentRecord, AddonRecord, AppRecord, Store, StoreError};
use http::{Method, Request};
use hyper::body::Incoming;
use uuid::Uuid;

use super::error::ApiError;
use super::resources::{app_ref, named, time};
use super::response::{ApiResult, created, ok, read};
use crate::services::Service;
use crate::services::addons::{AddonError, Addons, NewAddon};

/// The parts of a node that the endpoints work with.
#[derive(Clone, Copy)]
pub(super) struct AddonEndpoints<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) addons: &'a Arc<Addons>,
}

/// Serves `addons`, or an app's `addons`.
pub(super) async fn serve(
    parts: AddonEndpoints<'_>,
    method: &Method,
    app: Option<&AppRecord>,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    let addons = parts.addons;
    let name = app.map(|app| &app.name);
    match (method, rest, app) {
        (&Method::GET, [], _) => {
            let listed = addons.list(name)?;
            let resources = listed.iter().map(|addon| parts.resource(addon));
            ok(&resources.collect::<Result<Vec<_>, _>>()?)
        }
        (&Method::POST, [], Some(app)) => {
            let body: AddonCreate = read(request).await?;
            let new = NewAddon {
                plan: body.plan,
                attachment: body.attachment.and_then(|attachment| attachment.name),
                options: body.config.unwrap_or_default(),
            };
            created(&parts.resource(&addons.create(&app.name, new).await?)?)
        }
        (&Method::GET, [identity], _) => ok(&parts.resource(&addons.find(name, identity)?)?),
        (&Method::GET, [identity, "info"], _) => {
            let facts = addons.info(&addons.find(name, identity)?).await?;
            let facts = facts
                .into_iter()
                .map(|(name, value)| AddonFact { name, value });
            ok(&facts.collect::<Vec<_>>())
        }
        (&Method::GET, [identity, "sso"], _) => {
            let addon = addons.find(name, identity)?;
            let email = parts.store.account()?.email;
            let form = addons.sign_in(&addon, &email)?;
            let form = form.ok_or_else(|| AddonError::NoPage(addon.name))?;
            let params = form.fields.into_iter();
            ok(&AddonSignIn {
                method: "post".to_owned(),
                action: form.action,
                params: params
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
            })
        }
        (&Method::GET, [identity, "addon-attachments"], None) => {
            let addon = addons.find(None, identity)?;
            let mut listed = addons.attachments(None)?;
            listed.retain(|attachment| attachment.addon == addon.id);
            parts.attachments(&listed)
        }
        (&Method::PATCH, [identity], _) => {
            let body: AddonUpdate = read(request).await?;
            let addon = addons.find(name, identity)?;
            ok(&parts.resource(&addons.change_plan(&addon, &body.plan).await?)?)
        }
        (&Method::POST, [identity, "actions", "rotate"], _) => {
            let addon = addons.find(name, identity)?;
            ok(&parts.resource(&addons.rotate(&addon).await?)?)
        }
        (&Method::DELETE, [identity], _) => {
            let body: AddonDelete = read(request).await?;
            let addon = addons.find(name, identity)?;
            if let Some(owner) = &addon.app
                && body.confirm.as_deref() != Some(owner.as_str())
            {
                return Err(AddonError::Unconfirmed(addon.name, owner.clone()).into());
            }
            ok(&parts.resource(&addons.destroy(&addon).await?)?)
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

/// Serves `addon-attachments`, or an app's `addon-attachments`.
pub(super) async fn serve_attachments(
    parts: AddonEndpoints<'_>,
    method: &Method,
    app: Option<&AppRecord>,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    let addons = parts.addons;
    let listed = addons.attachments(app.map(|app| &app.name))?;
    let find = |identity: &str| {
        let id: Option<Uuid> = identity.parse().ok();
        let is_meant = |one: &&AddonAttachmentRecord| {
            Some(one.id) == id || (app.is_some() && one.name == identity)
        };
        let found = listed.iter().find(is_meant).cloned();
        let shown = || identity.chars().take(80).collect();
        found.ok_or_else(|| AddonError::NoAttachment(shown()))
    };
    match (method, rest, app) {
        (&Method::GET, [], _) => parts.attachments(&listed),
        (&Method::GET, [identity], _) => ok(&parts.attachment(&find(identity)?)?),
        (&Method::POST, [], None) => {
            let body: AddonAttachmentCreate = read(request).await?;
            let app = match body.app.parse().map_err(ApiError::invalid)? {
                corundum_api::Identity::Id(id) => parts.store.app_by_id(id)?,
                corundum_api::Identity::Name(name) => parts.store.app(&name)?,
            };
            let addon = addons.find(Some(&app.name), &body.addon)?;
            let attached = addons.attach(&app.name, &addon, body.name).await?;
            created(&parts.attachment(&attached)?)
        }
        (&Method::DELETE, [identity], _) => {
            let attachment = find(identity)?;
            let resource = parts.attachment(&attachment)?;
            addons.detach(attachment).await?;
            ok(&resource)
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

/// Serves `addon-services`.
pub(super) fn serve_services(addons: &Addons, rest: &[&str]) -> ApiResult {
    match rest {
        [] => {
            let services = addons.services().iter().map(|one| service(&**one));
            ok(&services.collect::<Vec<_>>())
        }
        [name] => ok(&service(&**addons.service(name)?)),
        [name, "plans"] => ok(&plans(&**addons.service(name)?)),
        _ => Err(ApiError::no_endpoint()),
    }
}

impl AddonEndpoints<'_> {
    fn app(&self, addon: &AddonRecord) -> Result<Option<AppRef>, ApiError> {
        match &addon.app {
            Some(name) => match self.store.app(name) {
                Ok(app) => Ok(Some(app_ref(&app))),
                Err(StoreError::NoApp(_)) => Ok(None),
                Err(error) => Err(error.into()),
            },
            None => Ok(None),
        }
    }

    pub(super) fn resource(&self, addon: &AddonRecord) -> Result<AddonResource, ApiError> {
        // The operator may have taken the service from the configuration.
        let service = self.addons.service(&addon.service).ok();
        let provider = service.and_then(|service| service.provider());
        let attachments = match &addon.app {
            Some(app) => self.store.app_attachments(app)?,
            None => Vec::new(),
        };
        let attachments = attachments.into_iter();
        let of_addon = attachments.filter(|attachment| attachment.addon == addon.id);
        Ok(AddonResource {
            id: addon.id,
            actions: Vec::new(),
            addon_service: named("addon-service", &addon.service),
            app: self.app(addon)?,
            billed_price: None,
            billing_entity: None,
            config_vars: of_addon
                .flat_map(|attachment| attachment.variables)
                .collect(),
            created_at: time(&addon.created_at)?,
            name: addon.name.clone(),
            plan: plan_ref(addon),
            provider_id: provider.and_then(|provider| provider.provider_id(addon)),
            state: addon.state.as_str().to_owned(),
            updated_at: time(&addon.updated_at)?,
            web_url: provider.and_then(|provider| Some(provider.page()?.to_owned())),
        })
    }

    fn attachments(&self, listed: &[AddonAttachmentRecord]) -> ApiResult {
        let resources = listed.iter().map(|attachment| self.attachment(attachment));
        ok(&resources.collect::<Result<Vec<_>, _>>()?)
    }

    fn attachment(
        &self,
        attachment: &AddonAttachmentRecord,
    ) -> Result<AddonAttachmentResource, ApiError> {
        let addon = self.store.addon(attachment.addon)?;
        let created_at = time(&attachment.created_at)?;
        Ok(AddonAttachmentResource {
            id: attachment.id,
            addon: AttachedAddon {
                id: addon.id,
                name: addon.name.clone(),
                app: self.app(&addon)?,
                plan: plan_ref(&addon),
            },
            app: app_ref(&self.store.app(&attachment.app)?),
            created_at,
            name: attachment.name.clone(),
            namespace: None,
            updated_at: created_at,
            log_input_url: None,
            web_url: None,
            config_vars: attachment.variables.clone(),
        })
    }
}

fn plan_ref(addon: &AddonRecord) -> NamedRef {
    named("plan", &format!("{}:{}", addon.service, addon.plan))
}

fn service(service: &dyn Service) -> AddonServiceResource {
    let names = service.names();
    let reference = named("addon-service", names.name);
    AddonServiceResource {
        id: reference.id,
        cli_plugin_name: None,
        created_at: None,
        human_name: names.title.to_owned(),
        name: reference.name,
        state: "ga".to_owned(),
        supports_multiple_installations: true,
        supports_sharing: true,
        supported_generations: Vec::new(),
        updated_at: None,
    }
}

fn plans(service: &dyn Service) -> Vec<AddonPlanResource> {
    let (names, plans) = (service.names(), service.plans());
    let resource = |name: &String| {
        let reference = named("plan", &format!("{}:{name}", names.name));
        AddonPlanResource {
            id: reference.id,
            addon_service: named("addon-service", names.name),
            created_at: None,
            compliance: None,
            default: *name == plans.default,
            description: service.describe(name),
            human_name: name.clone(),
            installable_inside_private_network: true,
            installable_outside_private_network: true,
            name: reference.name,
            price: PlanPrice {
                cents: 0,
                contract: false,
                unit: "month".to_owned(),
            },
            space_default: false,
            state: "ga".to_owned(),
            updated_at: None,
            visible: true,
        }
    };
    plans.by_name.keys().map(resource).collect()
}

//! Add-ons of an app's first push: those that `app.json` declares, or those that its gems use.

use std::collections::BTreeMap;
use std::sync::Arc;

use corundum_abi::names::AppName;
use corundum_compiler::app_json::AppJson;
use corundum_compiler::detect;
use corundum_store::AddonRecord;

use super::addons::{AddonError, Addons, NewAddon};

/// Creates the add-ons of a first push, whose app the caller has locked. `report` gets the lines for the pusher.
///
/// Those that the app has already, such as from an earlier push that failed, are left alone.
///
/// # Errors
///
/// An add-on that `app.json` declares cannot be created. One that only the gems suggest rejects no push.
pub(crate) async fn provide(
    addons: &Arc<Addons>,
    app: &AppName,
    app_json: &AppJson,
    lockfile: Option<&str>,
    report: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), AddonError> {
    let mut lines = AddonLines {
        report,
        has_heading: false,
    };
    let Some(declared) = app_json.declared_addons() else {
        return by_gems(addons, app, lockfile.unwrap_or_default(), &mut lines).await;
    };
    for addon in declared {
        let new = NewAddon {
            plan: addon.plan,
            attachment: addon.attachment,
            options: BTreeMap::new(),
        };
        let name = new.plan.split(':').next().unwrap_or_default();
        let Ok(service) = addons.service(name) else {
            lines.add(&format!(
                "{name} is not offered by this node: set its config vars with corundum config:set"
            ));
            continue;
        };
        let service = service.names().name;
        if !has(addons, app, service, new.attachment.as_deref())? {
            let created = addons.create_for_push(app, new).await?;
            lines.add_created(addons, app, &created)?;
        }
    }
    Ok(())
}

async fn by_gems(
    addons: &Arc<Addons>,
    app: &AppName,
    lockfile: &str,
    lines: &mut AddonLines<'_>,
) -> Result<(), AddonError> {
    if !addons.are_automatic() {
        return Ok(());
    }
    for service in addons.services() {
        let names = service.names();
        let is_used = names.gems.iter().any(|gem| detect::locks(lockfile, gem));
        let is_configured = || addons.has_variables(app, names.attachment, names.variables);
        if !is_used || has(addons, app, names.name, None)? || is_configured()? {
            continue;
        }
        let new = NewAddon {
            plan: names.name.to_owned(),
            attachment: None,
            options: BTreeMap::new(),
        };
        match addons.create_for_push(app, new).await {
            Ok(created) => lines.add_created(addons, app, &created)?,
            Err(error) => {
                tracing::warn!(%app, %error, "could not create an add-on of a first push");
                lines.add(&error.to_string());
                lines.add(&format!(
                    "The push goes on without it. Later: corundum addons:create {}",
                    names.name
                ));
            }
        }
    }
    Ok(())
}

/// Returns whether an app has an attachment of the name, or else one of the service.
fn has(
    addons: &Addons,
    app: &AppName,
    service: &str,
    name: Option<&str>,
) -> Result<bool, AddonError> {
    let attachments = addons.attachments(Some(app))?;
    if let Some(name) = name {
        return Ok(attachments.iter().any(|attachment| attachment.name == name));
    }
    let listed = addons.list(Some(app))?;
    let of_service = |addon: &AddonRecord| {
        addon.service == service && attachments.iter().any(|one| one.addon == addon.id)
    };
    Ok(listed.iter().any(of_service))
}

/// The lines for the pusher, below one heading.
struct AddonLines<'a> {
    report: &'a (dyn Fn(&str) + Send + Sync),
    has_heading: bool,
}

impl AddonLines<'_> {
    fn add(&mut self, line: &str) {
        if !std::mem::replace(&mut self.has_heading, true) {
            (self.report)("-----> Provisioning add-ons");
        }
        (self.report)(&format!("       {line}"));
    }

    fn add_created(
        &mut self,
        addons: &Addons,
        app: &AppName,
        addon: &AddonRecord,
    ) -> Result<(), AddonError> {
        let attachments = addons.attachments(Some(app))?.into_iter();
        let of_addon = attachments.filter(|attachment| attachment.addon == addon.id);
        let variables: Vec<String> = of_addon.flat_map(|one| one.variables).collect();
        let AddonRecord {
            name,
            service,
            plan,
            ..
        } = addon;
        self.add(&match variables.is_empty() {
            true => format!(
                "{name} ({service}:{plan}) is being provisioned; its config vars come with a later release"
            ),
            false => format!("{name} ({service}:{plan}) as {}", variables.join(", ")),
        });
        Ok(())
    }
}

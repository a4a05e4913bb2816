//! Add-ons, the services that provide them, their plans, and their attachments to apps.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::reference::{AppRef, NamedRef};

/// An add-on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddonResource {
    /// The key.
    pub id: Uuid,
    /// Always empty: the node has no actions of providers.
    pub actions: Vec<String>,
    /// The service.
    pub addon_service: NamedRef,
    /// The app that owns it; `null` after that app was destroyed.
    pub app: Option<AppRef>,
    /// Always `null`: a node bills nothing.
    pub billed_price: Option<String>,
    /// Always `null`: a node bills nothing.
    pub billing_entity: Option<NamedRef>,
    /// The config vars that its attachments set in its own app.
    pub config_vars: Vec<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// The name.
    pub name: String,
    /// The plan, as `postgres:mini`.
    pub plan: NamedRef,
    /// The key that its provider has given it; `null` if it has none.
    pub provider_id: Option<String>,
    /// `provisioning`, `provisioned` or `deprovisioning`.
    pub state: String,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// A page of its provider, to which [`AddonSignIn`] is the way; `null` if it has none.
    pub web_url: Option<String>,
}

/// The way to the page of an add-on's provider: a form that a browser sends. It is valid for some minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddonSignIn {
    /// Always `post`.
    pub method: String,
    /// The URL.
    pub action: String,
    /// The form's fields.
    pub params: BTreeMap<String, String>,
}

/// A config var that a provider has set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderConfigVar {
    /// The name, as the provider's manifest has it.
    pub name: String,
    /// The value.
    pub value: String,
}

/// An attachment of an add-on to an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddonAttachmentResource {
    /// The key.
    pub id: Uuid,
    /// The add-on.
    pub addon: AttachedAddon,
    /// The app.
    pub app: AppRef,
    /// When it was made.
    pub created_at: Timestamp,
    /// The name with which its config vars begin.
    pub name: String,
    /// Always `null`: the services of a node have no namespaces.
    pub namespace: Option<String>,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Always `null`.
    pub log_input_url: Option<String>,
    /// Always `null`.
    pub web_url: Option<String>,
    /// The config vars that it sets. An addition to v3.
    pub config_vars: Vec<String>,
}

/// The add-on of an attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedAddon {
    /// The key.
    pub id: Uuid,
    /// The name.
    pub name: String,
    /// The app that owns it.
    pub app: Option<AppRef>,
    /// The plan.
    pub plan: NamedRef,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddonServiceResource {
    /// The key, the same on all nodes.
    pub id: Uuid,
    /// Always `null`.
    pub cli_plugin_name: Option<String>,
    /// Always `null`: the operator's configuration has no times.
    pub created_at: Option<Timestamp>,
    /// The name for people.
    pub human_name: String,
    /// The name.
    pub name: String,
    /// Always `ga`.
    pub state: String,
    /// Always true.
    pub supports_multiple_installations: bool,
    /// Always true.
    pub supports_sharing: bool,
    /// Always empty.
    pub supported_generations: Vec<NamedRef>,
    /// Always `null`.
    pub updated_at: Option<Timestamp>,
}

/// A plan of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddonPlanResource {
    /// The key, the same on all nodes.
    pub id: Uuid,
    /// The service.
    pub addon_service: NamedRef,
    /// Always `null`: the operator's configuration has no times.
    pub created_at: Option<Timestamp>,
    /// Always `null`.
    pub compliance: Option<Vec<String>>,
    /// True if add-ons that name no plan have this one.
    pub default: bool,
    /// The limits.
    pub description: String,
    /// The name without the service.
    pub human_name: String,
    /// Always true.
    pub installable_inside_private_network: bool,
    /// Always true.
    pub installable_outside_private_network: bool,
    /// The name, as `postgres:mini`.
    pub name: String,
    /// Always free.
    pub price: PlanPrice,
    /// Always false.
    pub space_default: bool,
    /// Always `ga`.
    pub state: String,
    /// Always `null`.
    pub updated_at: Option<Timestamp>,
    /// Always true.
    pub visible: bool,
}

/// The price of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanPrice {
    /// Always 0.
    pub cents: u64,
    /// Always false.
    pub contract: bool,
    /// Always `month`.
    pub unit: String,
}

/// A fact that a service tells about an add-on. An addition to v3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddonFact {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

/// A request for an add-on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddonCreate {
    /// `SERVICE` or `SERVICE:PLAN`.
    pub plan: String,
    /// The attachment.
    #[serde(default)]
    pub attachment: Option<AttachmentName>,
    /// Options for the service's provider.
    #[serde(default)]
    pub config: Option<BTreeMap<String, String>>,
}

/// The name of a new attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentName {
    /// The name.
    #[serde(default)]
    pub name: Option<String>,
}

/// A request to change an add-on's plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddonUpdate {
    /// `PLAN` or `SERVICE:PLAN`.
    pub plan: String,
}

/// A request to remove an add-on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddonDelete {
    /// The name of the app that owns it. An addition to v3.
    #[serde(default)]
    pub confirm: Option<String>,
}

/// A request to attach an add-on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddonAttachmentCreate {
    /// The add-on's name or key.
    pub addon: String,
    /// The app's name or key.
    pub app: String,
    /// The name of the attachment.
    #[serde(default)]
    pub name: Option<String>,
}

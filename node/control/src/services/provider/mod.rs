//! Services of providers: programs outside of the node that create add-ons over HTTP, as Heroku's partners do.
//!
//! The node speaks version 3 of the partner API: `POST`, `PUT` and `DELETE` of resources, each named by the add-on's key, so
//! that a request can be repeated. An answer is checked ([`answer`]) before anything of it is kept. A request whose end is
//! unknown is undone: the add-on stays `deprovisioning` until the provider has confirmed its removal.

mod answer;
mod client;
mod grants;
pub mod settings;
mod sso;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use corundum_abi::outbound::OutboundTarget;
use corundum_store::AddonRecord;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::answer::ProviderAnswer;
use self::client::{ProviderCallError, ProviderClient, ProviderResponse};
use self::settings::{ProviderConfig, ProviderSettings};
pub(crate) use self::sso::SsoForm;
use self::sso::SsoResource;
use super::settings::{ServiceSettingsError, invalid};
use super::{Plans, Service, ServiceError, ServiceFuture, ServiceNames};

/// Options of an add-on that a user may give.
const MAX_OPTIONS: usize = 20;

/// Bytes of the value of an option.
const MAX_OPTION: usize = 1024;

/// A service of one provider.
pub(crate) struct Provider {
    names: ServiceNames,
    config: ProviderConfig,
    client: ProviderClient,
    /// The full names of the config vars, in the order of their ends.
    declared: Vec<String>,
    callback: String,
}

/// The data of an add-on.
#[derive(Default, Serialize, Deserialize)]
struct ProviderData {
    /// The user's options.
    #[serde(default)]
    options: BTreeMap<String, String>,
    /// The provider's own key of the resource.
    #[serde(default)]
    id: Option<String>,
    /// Config vars by their full names.
    #[serde(default)]
    config: BTreeMap<String, String>,
    /// The provider's message.
    #[serde(default)]
    message: Option<String>,
    /// True while the provider creates the resource behind its answer.
    #[serde(default)]
    is_pending: bool,
}

impl Provider {
    /// Creates the service `name`. `api` is the address of the node's API.
    ///
    /// # Errors
    ///
    /// [`ServiceSettingsError`].
    pub(super) fn new(
        name: &str,
        settings: &ProviderSettings,
        api: SocketAddr,
    ) -> Result<Self, ServiceSettingsError> {
        // A service lives as long as its process, which makes each once.
        let name: &'static str = name.to_owned().leak();
        let config = settings.config(name)?;
        let client = ProviderClient::new(&config);
        let client = client.map_err(|problem| invalid(name, "ca-file", problem))?;
        let prefix: &'static str = config.prefix.clone().leak();
        let ends = config.ends.iter().map(|end| &*end.clone().leak());
        let ends: Vec<&'static str> = ends.collect();
        let declared = config.ends.iter().map(|end| format!("{prefix}_{end}"));
        let callback = config.callback_url.clone();
        Ok(Self {
            names: ServiceNames {
                name,
                aliases: &[],
                addons: name,
                attachment: prefix,
                further: prefix,
                variables: ends.leak(),
                title: config.title.clone().leak(),
                gems: &[],
            },
            declared: declared.collect(),
            callback: callback.unwrap_or_else(|| format!("http://{api}")),
            client,
            config,
        })
    }

    /// Returns whether a request of the provider to the node has the provider's user name and password.
    pub(crate) fn has_credentials(&self, user: &str, password: &str) -> bool {
        // Digests, so that the time of the comparison tells nothing about the password.
        let own = Sha256::digest(self.config.password.0.as_bytes());
        self.config.id == user && own == Sha256::digest(password.as_bytes())
    }

    /// Returns whether the provider still creates an add-on.
    pub(crate) fn is_pending(&self, addon: &AddonRecord) -> bool {
        self.decode(addon).is_ok_and(|data| data.is_pending)
    }

    /// Returns the data of an add-on with config vars that the provider sets.
    ///
    /// # Errors
    ///
    /// The config vars are not those of the manifest; the record is damaged.
    pub(crate) fn with_config(
        &self,
        addon: &AddonRecord,
        config: &Value,
    ) -> Result<String, ServiceError> {
        let config = answer::config(config, &self.declared);
        let config = config.map_err(|problem| self.rejected(problem))?;
        let mut data = self.decode(addon)?;
        data.config.extend(config);
        self.encode(&data)
    }

    /// Returns the data of an add-on that the provider has finished.
    ///
    /// # Errors
    ///
    /// The provider has set no config var; the record is damaged.
    pub(crate) fn finished(&self, addon: &AddonRecord) -> Result<String, ServiceError> {
        let mut data = self.decode(addon)?;
        if data.config.is_empty() {
            let problem = "no config var is set: set them first, at callback_url/config";
            return Err(self.rejected(problem.to_owned()));
        }
        data.is_pending = false;
        self.encode(&data)
    }

    /// Returns the config vars that the provider has set, by their names in the manifest.
    ///
    /// # Errors
    ///
    /// The record is damaged.
    pub(crate) fn config(
        &self,
        addon: &AddonRecord,
    ) -> Result<BTreeMap<String, String>, ServiceError> {
        Ok(self.decode(addon)?.config)
    }

    /// Returns the provider's own key of an add-on.
    pub(crate) fn provider_id(&self, addon: &AddonRecord) -> Option<String> {
        self.decode(addon).ok()?.id
    }

    /// Returns the provider's page, if it has one and the node can sign users in there.
    pub(crate) fn page(&self) -> Option<&str> {
        self.config.sso_salt.as_ref()?;
        self.config.sso_url.as_deref()
    }

    /// Returns the form that signs a user in at the provider's page.
    pub(crate) fn sign_in(&self, addon: &AddonRecord, email: &str) -> Option<SsoForm> {
        let salt = self.config.sso_salt.as_ref()?;
        let app = addon.app.as_ref().map(ToString::to_string);
        let resource = SsoResource {
            id: addon.id.to_string(),
            app: app.as_deref().unwrap_or_default(),
            email,
        };
        Some(sso::form(self.page()?, &salt.0, resource, Timestamp::now()))
    }

    async fn create(&self, addon: &AddonRecord) -> Result<String, ServiceError> {
        let mut data = self.decode(addon)?;
        let body = json!({
            "uuid": addon.id,
            "name": addon.name,
            "plan": addon.plan,
            "region": self.config.region,
            "options": data.options,
            "callback_url": format!("{}/v1/provider/addons/{}", self.callback, addon.id),
        });
        let response = self.call("POST", None, Some(&body)).await?;
        let answer = self.accepted(&response, &[200, 201, 202])?;
        data.is_pending = response.status == 202;
        if answer.config.is_empty() && !data.is_pending {
            let problem = "it created an add-on without config vars".to_owned();
            return Err(self.failed(problem));
        }
        data.id = answer.id;
        data.config = answer.config;
        data.message = answer.message;
        self.encode(&data)
    }

    async fn put(&self, addon: &AddonRecord) -> Result<String, ServiceError> {
        let mut data = self.decode(addon)?;
        let body = json!({ "plan": addon.plan });
        let response = self.call("PUT", Some(addon), Some(&body)).await?;
        let answer = self.accepted(&response, &[200, 204])?;
        data.config.extend(answer.config);
        data.message = answer.message.or(data.message);
        self.encode(&data)
    }

    async fn delete(&self, addon: &AddonRecord) -> Result<(), ServiceError> {
        let response = self.call("DELETE", Some(addon), None).await?;
        match response.status {
            // A resource that the provider does not know, or knows no longer, is removed.
            200 | 202 | 204 | 404 | 410 => Ok(()),
            _ => Err(self.refusal(&response)),
        }
    }

    async fn call(
        &self,
        method: &'static str,
        addon: Option<&AddonRecord>,
        body: Option<&Value>,
    ) -> Result<ProviderResponse, ServiceError> {
        let sent = self.client.send(method, addon.map(|addon| addon.id), body);
        sent.await.map_err(|error| match error {
            ProviderCallError::Unreached(cause) => ServiceError::Unavailable {
                service: self.names.name,
                cause,
            },
            ProviderCallError::Failed(cause) => self.failed(cause),
        })
    }

    /// Reads an answer with one of the statuses.
    fn accepted(
        &self,
        response: &ProviderResponse,
        statuses: &[u16],
    ) -> Result<ProviderAnswer, ServiceError> {
        if !statuses.contains(&response.status) {
            return Err(self.refusal(response));
        }
        let answer = answer::read(&response.body, &self.declared);
        answer.map_err(|problem| self.failed(problem))
    }

    /// Makes the error of a status.
    fn refusal(&self, response: &ProviderResponse) -> ServiceError {
        let message = answer::refusal(&response.body);
        let status = response.status;
        match (status, message) {
            (422, message) => ServiceError::Rejected {
                service: self.names.name,
                cause: message.unwrap_or_else(|| "it refuses and gives no reason".to_owned()),
            },
            (401 | 403, _) => self.failed(format!(
                "it answered {status}: the operator must check the id and the password of its manifest"
            )),
            (_, Some(message)) => self.failed(format!("it answered {status}: {message}")),
            (_, None) => self.failed(format!("it answered {status}")),
        }
    }

    fn failed(&self, cause: String) -> ServiceError {
        ServiceError::Provider {
            service: self.names.name,
            cause,
        }
    }

    fn rejected(&self, cause: String) -> ServiceError {
        ServiceError::Rejected {
            service: self.names.name,
            cause,
        }
    }

    fn encode(&self, data: &ProviderData) -> Result<String, ServiceError> {
        super::loopback::encode(self.names.name, data)
    }

    fn decode(&self, addon: &AddonRecord) -> Result<ProviderData, ServiceError> {
        let data: Option<ProviderData> = super::loopback::decode(self.names.name, addon)?;
        Ok(data.unwrap_or_default())
    }
}

impl Service for Provider {
    fn names(&self) -> ServiceNames {
        self.names
    }

    fn plans(&self) -> &Plans {
        &self.config.plans
    }

    fn describe(&self, plan: &str) -> String {
        let described = self.config.descriptions.get(plan);
        described.cloned().unwrap_or_default()
    }

    fn prepare(&self, options: &BTreeMap<String, String>) -> Result<String, ServiceError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let is_valid = |(name, value): (&String, &String)| {
            !name.is_empty()
                && name.len() <= 64
                && name.chars().all(plain)
                && value.len() <= MAX_OPTION
                && !value.contains(char::is_control)
        };
        if options.len() > MAX_OPTIONS || !options.iter().all(is_valid) {
            let problem =
                "an option has an invalid name or value: 20 options of 1,024 bytes at most";
            return Err(self.rejected(problem.to_owned()));
        }
        self.encode(&ProviderData {
            options: options.clone(),
            ..ProviderData::default()
        })
    }

    fn provision<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, String> {
        Box::pin(self.create(addon))
    }

    fn change_plan<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, String> {
        Box::pin(self.put(addon))
    }

    fn rotate<'a>(&'a self, _: &'a AddonRecord) -> ServiceFuture<'a, String> {
        Box::pin(async {
            let problem = "the provider alone replaces its credentials: see its documentation";
            Err(self.rejected(problem.to_owned()))
        })
    }

    fn deprovision<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, ()> {
        Box::pin(self.delete(addon))
    }

    fn variables(&self, addon: &AddonRecord) -> Result<Vec<(&'static str, String)>, ServiceError> {
        let data = self.decode(addon)?;
        let named = self.names.variables.iter().zip(&self.declared);
        let set = named.filter_map(|(end, name)| Some((*end, data.config.get(name)?.clone())));
        Ok(set.collect())
    }

    fn targets(&self, addon: &AddonRecord) -> Result<Vec<OutboundTarget>, ServiceError> {
        let data = self.decode(addon)?;
        Ok(grants::of_values(data.config.values(), &self.config.grants))
    }

    fn info<'a>(&'a self, addon: &'a AddonRecord) -> ServiceFuture<'a, Vec<(String, String)>> {
        Box::pin(async {
            let data = self.decode(addon)?;
            let facts = [
                ("Provider", Some(self.config.title.clone())),
                ("Provider's key", data.id),
                ("Message", data.message),
            ];
            let facts = facts
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)));
            Ok(facts.collect())
        })
    }

    fn provider(&self) -> Option<&Provider> {
        Some(self)
    }
}

//! Data of add-ons whose server is a process of the node.

use corundum_abi::outbound::OutboundTarget;
use corundum_store::AddonRecord;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ServiceError;
use crate::secret;

/// Returns the grant of exactly one port of 127.0.0.1.
pub(super) fn target(service: &'static str, port: u16) -> Result<OutboundTarget, ServiceError> {
    let target = format!("tcp://127.0.0.1:{port}").parse();
    target.map_err(|error| ServiceError::Refused {
        service,
        cause: format!("{error}"),
    })
}

/// Writes the data of an add-on.
pub(super) fn encode(service: &'static str, data: &impl Serialize) -> Result<String, ServiceError> {
    serde_json::to_string(data).map_err(|_| ServiceError::Damaged { service })
}

/// Reads the data of an add-on.
pub(super) fn decode<T: DeserializeOwned>(
    service: &'static str,
    addon: &AddonRecord,
) -> Result<T, ServiceError> {
    serde_json::from_str(&addon.data).map_err(|_| ServiceError::Damaged { service })
}

/// Makes the error of the node's own files or processes.
pub(super) fn failed(service: &'static str, error: impl ToString) -> ServiceError {
    ServiceError::Refused {
        service,
        cause: error.to_string(),
    }
}

/// Makes a password.
pub(super) fn password(service: &'static str) -> Result<String, ServiceError> {
    secret::random_hex().map_err(|error| failed(service, error))
}

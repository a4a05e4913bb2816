//! References between resources: objects with a key and what people know the resource by.

use corundum_abi::names::{AppName, ReleaseVersion};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The app that a resource belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRef {
    /// The app's key.
    pub id: Uuid,
    /// The app's name.
    pub name: AppName,
}

/// A release of the same app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRef {
    /// The release's key.
    pub id: Uuid,
    /// The release's number.
    pub version: ReleaseVersion,
}

/// The account that made something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRef {
    /// The account's key.
    pub id: Uuid,
    /// The account's e-mail address.
    pub email: String,
}

/// A slug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlugRef {
    /// The first 16 bytes of the slug's SHA-256 as a UUID of version 8: apps with the same content share a slug.
    pub id: Uuid,
}

/// A resource of which only the key is told, such as the release of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRef {
    /// The resource's key.
    pub id: Uuid,
}

/// A resource with a plain name: a stack, a region, a generation, a dyno size, a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedRef {
    /// The resource's key.
    pub id: Uuid,
    /// The resource's name.
    pub name: String,
}

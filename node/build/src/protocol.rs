//! Messages between the node and a build process.
//!
//! The node writes to the child's standard input: the length of a [`BuildRequest`] as a little-endian `u32`, the
//! request as JSON, then the app's tree as a tar stream. Config vars travel this way so that they appear in no argument
//! list, no environment and no file. The child's standard output is the text for the pusher. It leaves its
//! [`BuildOutcome`] as a file in the directory that the request names.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use corundum_abi::names::SlugDigest;
use corundum_abi::outbound::OutboundPolicy;
use corundum_compiler::gems::GemServerUrl;
use corundum_compiler::slug::SlugDescription;
use serde::{Deserialize, Serialize};

use crate::limits::BuildLimits;
use crate::slots::BuildUrgency;

/// Exit status of a child that rejected the app and told the pusher why.
pub(crate) const REJECTED_STATUS: u8 = 1;

/// Bytes of an encoded request; config vars are nearly all of it.
const MAX_REQUEST_BYTES: u32 = 4 << 20;

/// File of the outcome in the build's directory.
const OUTCOME_FILE: &str = "result.json";

/// Parameters of one build.
#[derive(Debug, Serialize, Deserialize)]
pub struct BuildRequest {
    /// Directory of the prepared pack.
    pub pack: PathBuf,
    /// Existing slug whose image the build makes. Without it the app's tree follows the request.
    pub slug: Option<PathBuf>,
    /// Directory for the slug, the image and the outcome.
    pub directory: PathBuf,
    /// Limits of this build.
    pub limits: BuildLimits,
    /// The parties that this build delays.
    pub urgency: BuildUrgency,
    /// Gem directories of the node.
    pub gem_directories: Vec<PathBuf>,
    /// Gem servers that the build may fetch from.
    pub gem_servers: Vec<GemServerUrl>,
    /// The node's gem cache, on the same file system as `directory`.
    pub gem_cache: PathBuf,
    /// Host and port at which the app is served.
    pub host: String,
    /// The app's config vars.
    pub config: Vec<(String, String)>,
    /// The operator's policy for connections that the app opens.
    pub outbound: OutboundPolicy,
}

/// Result of a successful build.
#[derive(Debug, Serialize, Deserialize)]
pub struct BuildOutcome {
    /// Digest of the new slug; none if the build only made an image.
    pub slug: Option<SlugDigest>,
    /// Description that the slug contains.
    pub description: SlugDescription,
}

/// A message that cannot be exchanged. The platform is at fault, except for config vars that are too large.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The input ended before the whole request.
    #[error("build request: incomplete")]
    Incomplete(#[source] io::Error),
    /// The config vars exceed [`MAX_REQUEST_BYTES`].
    #[error("config vars: larger than {} MB; remove some", MAX_REQUEST_BYTES >> 20)]
    TooLarge,
    /// A message is not the expected JSON.
    #[error("build message: invalid JSON")]
    Json(#[from] serde_json::Error),
    /// The outcome cannot be written or read.
    #[error("build outcome: cannot be stored")]
    Outcome(#[source] io::Error),
}

impl BuildRequest {
    /// Encodes the request behind its length.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::TooLarge`], [`ProtocolError::Json`].
    pub fn encode(&self) -> Result<Vec<u8>, ProtocolError> {
        let text = serde_json::to_vec(self)?;
        let length = u32::try_from(text.len()).map_err(|_| ProtocolError::TooLarge)?;
        Ok([&length.to_le_bytes()[..], &text].concat())
    }

    /// Reads a request and leaves `input` at the byte after it.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::Incomplete`], [`ProtocolError::TooLarge`], [`ProtocolError::Json`].
    pub fn read(input: &mut impl Read) -> Result<Self, ProtocolError> {
        let mut length = [0; 4];
        let incomplete = ProtocolError::Incomplete;
        input.read_exact(&mut length).map_err(incomplete)?;
        let length = u32::from_le_bytes(length);
        if length > MAX_REQUEST_BYTES {
            return Err(ProtocolError::TooLarge);
        }
        let mut text = vec![0; length as usize];
        input.read_exact(&mut text).map_err(incomplete)?;
        Ok(serde_json::from_slice(&text)?)
    }
}

impl BuildOutcome {
    /// Writes the outcome into the build's directory.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::Json`], [`ProtocolError::Outcome`].
    pub fn write(&self, directory: &Path) -> Result<(), ProtocolError> {
        let text = serde_json::to_vec(self)?;
        std::fs::write(directory.join(OUTCOME_FILE), text).map_err(ProtocolError::Outcome)
    }

    /// Reads the outcome from the build's directory.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::Json`], [`ProtocolError::Outcome`].
    pub fn read(directory: &Path) -> Result<Self, ProtocolError> {
        let text = std::fs::read(directory.join(OUTCOME_FILE)).map_err(ProtocolError::Outcome)?;
        Ok(serde_json::from_slice(&text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> BuildRequest {
        BuildRequest {
            pack: "/pack".into(),
            slug: None,
            directory: "/work".into(),
            limits: BuildLimits::default(),
            urgency: BuildUrgency::Awaited,
            gem_directories: Vec::new(),
            gem_servers: Vec::new(),
            gem_cache: "/gems".into(),
            host: "myapp.localhost:8080".to_owned(),
            config: vec![("A".to_owned(), "1".to_owned())],
            outbound: OutboundPolicy::default(),
        }
    }

    #[test]
    fn request_is_read_and_input_stands_behind_it() {
        let bytes = [request().encode().unwrap(), b"tar".to_vec()].concat();
        let mut input = bytes.as_slice();
        let read = BuildRequest::read(&mut input).unwrap();
        assert_eq!(read.config, request().config);
        assert_eq!(read.host, request().host);
        assert_eq!(input, b"tar");
    }

    #[test]
    fn incomplete_and_oversized_requests_are_rejected() {
        let bytes = request().encode().unwrap();
        for end in [0, 3, 4, bytes.len() - 1] {
            let error = BuildRequest::read(&mut &bytes[..end]).unwrap_err();
            assert!(matches!(error, ProtocolError::Incomplete(_)), "{end}");
        }
        let length = (MAX_REQUEST_BYTES + 1).to_le_bytes();
        let error = BuildRequest::read(&mut &length[..]).unwrap_err();
        assert!(matches!(error, ProtocolError::TooLarge), "{error}");
    }
}

//! One-off dynos: commands that run once. The API's own form until `POST dynos` attaches to them.

use serde::{Deserialize, Serialize};

/// A request to run a command in a dyno of its own. The response streams its output in the frames of
/// [`corundum_abi::run_stream`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneOffCreate {
    /// The command and its arguments. A dyno has no shell that could split a line.
    pub command: Vec<String>,
}

//! Apps and their owners' choices.

pub(crate) mod autoscale;
pub(crate) mod config_vars;
pub(crate) mod names;
pub(crate) mod settings;

//! Apps that take what the node shares: descriptors, dynos, memory, kernel mappings.

mod crashes;
mod descriptors;
mod memory;
mod neighbour;

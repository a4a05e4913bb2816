//! File descriptors: the limit of the process, and its division among the parts of a node.
//!
//! A node that runs out of descriptors accepts no connection and starts no build, while it still seems healthy. It
//! therefore checks its limit before it listens, and gives each part a share that the others cannot take.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors of the node itself: threads' event queues, listeners, the store, the admin listener's reserve, connections
/// of the API, pipes of builds and of git.
const OWN: usize = 500;
/// The least descriptors with which these parts work, one after another rather than at once.
const LEAST_OWN: usize = 200;
/// The fewest connections that each listener for apps accepts at once.
const LEAST_CONNECTIONS: usize = 100;
/// The fewest apps whose images may be loaded at once. Each loaded image keeps its file open.
const LEAST_IMAGES: usize = 50;
/// The fewest sockets that the dynos together may have.
const LEAST_SOCKETS: usize = 50;
/// The limit that the node recommends: connections, images, dynos' sockets and own descriptors at their most.
const ENOUGH: usize = 65_536;

/// The division of the descriptors of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptorShares {
    /// The limit of the process.
    pub limit: usize,
    /// Connections of each listener for apps.
    pub connections: usize,
    /// Images that may be loaded at once.
    pub images: usize,
    /// Sockets that dynos may have to other machines.
    pub sockets: usize,
}

/// Failure to start with the descriptors that the process may open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "open files: the hard limit is {limit}, and the node needs at least {needed}: start it from a shell with \
     `ulimit -Hn {ENOUGH}`, or set `LimitNOFILE={ENOUGH}` in its systemd unit"
)]
pub struct TooFewDescriptors {
    limit: usize,
    needed: usize,
}

impl DescriptorShares {
    /// Raises the limit of this process as far as it may, and divides it among `listeners` listeners for apps and the
    /// other parts.
    ///
    /// # Errors
    ///
    /// The limit is too low for a node that serves anybody.
    pub fn of_process(listeners: usize) -> Result<Self, TooFewDescriptors> {
        Self::divide(raise_limit(), listeners)
    }

    fn divide(limit: usize, listeners: usize) -> Result<Self, TooFewDescriptors> {
        let listeners = listeners.max(1);
        let needed = LEAST_OWN + LEAST_IMAGES + LEAST_SOCKETS + LEAST_CONNECTIONS * listeners;
        if limit < needed {
            return Err(TooFewDescriptors { limit, needed });
        }
        // Each part has its least share; half of the rest is for the node itself until that has enough.
        let rest = limit - needed;
        let own = (rest / 2).min(OWN - LEAST_OWN);
        let images = (rest - own) / 5;
        // A dyno that waits for another machine has a socket there and a client's connection here.
        let sockets = (rest - own - images) / (1 + listeners);
        Ok(Self {
            limit,
            connections: LEAST_CONNECTIONS + (rest - own - images - sockets) / listeners,
            images: LEAST_IMAGES + images,
            sockets: LEAST_SOCKETS + sockets,
        })
    }

    /// Returns whether the limit is so low that the operator should raise it.
    pub fn are_scarce(&self) -> bool {
        self.limit < 4096
    }
}

/// Raises the soft limit of open files to the hard limit, and returns it.
fn raise_limit() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    let raised = getrlimit(Resource::Nofile).current;
    raised.map_or(usize::MAX, |files| files.try_into().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_a_share_at_every_limit() {
        for listeners in 1..=2 {
            for limit in (0..70_000).chain([1 << 20, usize::MAX]) {
                let Ok(shares) = DescriptorShares::divide(limit, listeners) else {
                    assert!(limit < 500, "{limit}");
                    continue;
                };
                assert!(shares.connections >= LEAST_CONNECTIONS && shares.images >= LEAST_IMAGES);
                assert!(shares.sockets >= LEAST_SOCKETS);
                let given = shares.connections * listeners + shares.images + shares.sockets;
                assert!(limit - given >= LEAST_OWN, "{limit}: {shares:?}");
                assert!(limit < 2000 || limit - given >= OWN, "{limit}: {shares:?}");
            }
        }
    }

    #[test]
    fn error_names_the_limit_and_the_remedy() {
        let error = DescriptorShares::divide(256, 1).unwrap_err().to_string();
        for part in ["open files", "256", "400", "ulimit -Hn", "LimitNOFILE="] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn soft_limit_is_raised_to_the_hard_limit() {
        let raised = raise_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert!(raised > LEAST_OWN);
    }
}

//! A lease: one of an app's dynos in use, or the right to start it. However a lease ends, its slot is returned.

use std::sync::Arc;
use std::time::Instant;

use corundum_abi::app_options::Isolation;
use corundum_abi::names::{DynoName, ProcessType};
use tokio::runtime::Handle;
use tracing::Span;

use super::admission::DynoSlot;
use super::app::GridApp;
use super::limits::GridLimits;
use super::release::GridRelease;
use crate::dyno::Dyno;

/// Facts about a dyno that stay the same while it is in use, or that only its lease changes.
pub(super) struct DynoFacts {
    /// Release that the dyno runs.
    pub(super) release: Arc<GridRelease>,
    /// Number of the dyno in the formation.
    pub(super) number: u32,
    /// Number of restarts that the app had seen when the dyno was started.
    pub(super) generation: u64,
    /// Time at which the dyno was started.
    pub(super) started: Instant,
    /// Requests that the dyno has served.
    pub(super) served: u32,
    /// Time since which no request has used the dyno, while its threads run.
    pub(super) idle_since: Option<Instant>,
}

impl DynoFacts {
    /// Returns the name of the dyno.
    pub(super) fn name(&self) -> DynoName {
        DynoName {
            process: ProcessType::web(),
            number: self.number,
        }
    }

    /// Creates a span for events of this dyno. It costs an atomic load while it is disabled.
    pub(super) fn span(&self) -> Span {
        tracing::debug_span!(
            "dyno",
            app = %self.release.app,
            release = %self.release.version,
            dyno = %self.name(),
        )
    }
}

/// A dyno in use, or the right to start one.
pub(super) struct Lease {
    app: Arc<GridApp>,
    pub(super) facts: DynoFacts,
    /// `None` until the dyno is started.
    pub(super) dyno: Option<Box<Dyno>>,
    /// `None` once the dyno has become idle and keeps the slot.
    slot: Option<DynoSlot>,
    /// App that gets the slot when the lease ends.
    pub(super) next_owner: Option<Arc<GridApp>>,
}

impl Lease {
    /// Creates the lease of a dyno, which is still to be started if `dyno` is `None`.
    pub(super) fn new(
        app: Arc<GridApp>,
        facts: DynoFacts,
        dyno: Option<Box<Dyno>>,
        slot: DynoSlot,
    ) -> Self {
        Self {
            app,
            facts,
            dyno,
            slot: Some(slot),
            next_owner: None,
        }
    }

    /// Returns the app that the dyno serves.
    pub(super) fn app(&self) -> &Arc<GridApp> {
        &self.app
    }

    /// Creates a span for events of the dyno.
    pub(super) fn span(&self) -> Span {
        self.facts.span()
    }

    /// Returns the dyno to its app, which gives it the next request, keeps it idle or replaces it.
    pub(super) fn give_back(self) {
        self.app.clone().take_back(self);
    }

    /// Returns the reason for which the dyno must not serve another request, if there is one.
    pub(super) fn replace_reason(&self, limits: &GridLimits) -> Option<ReplaceReason> {
        let dyno = self.dyno.as_ref()?;
        if self.facts.release.isolation == Isolation::Request {
            Some(ReplaceReason::Isolation)
        } else if dyno.reached_memory_limit().is_some()
            || dyno.grown_bytes() > limits.growth
            || dyno.has_full_exception_heap()
        {
            Some(ReplaceReason::Memory)
        } else if self.facts.served >= limits.requests {
            Some(ReplaceReason::Requests)
        } else if self.facts.started.elapsed() > limits.age {
            Some(ReplaceReason::Age)
        } else {
            None
        }
    }

    /// Ends the lease and its dyno in a task of its own, because emptying a memory takes as long as filling it.
    ///
    /// The task is spawned on the current thread's runtime, where it runs after the response has been written. A task
    /// on another thread might run earlier on the same core.
    pub(super) fn retire(self) {
        if self.dyno.is_none() {
            return;
        }
        let current = Handle::try_current();
        let runtime = current.unwrap_or_else(|_| self.app.context().compute.clone());
        runtime.spawn(async move { drop(self) });
    }

    /// Ends the lease without ending its dyno, which becomes idle and keeps its slot.
    pub(super) fn into_idle(mut self) -> Option<(Box<Dyno>, DynoSlot)> {
        let (dyno, slot) = (self.dyno.take(), self.slot.take());
        dyno.zip(slot)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The memory is freed before the slot, so that the slot's next owner finds room in the engine.
        drop(self.dyno.take());
        if let Some(slot) = self.slot.take() {
            let next_owner = self.next_owner.take();
            self.app
                .clone()
                .remove_dyno(self.facts.number, slot, next_owner);
        }
    }
}

/// Reason for replacing a dyno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplaceReason {
    /// The app wants one request per dyno.
    Isolation,
    /// The dyno has grown too much.
    Memory,
    /// The dyno has served enough requests.
    Requests,
    /// The dyno is too old.
    Age,
}

impl ReplaceReason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Isolation => "one request per dyno",
            Self::Memory => "memory growth",
            Self::Requests => "requests served",
            Self::Age => "age",
        }
    }
}

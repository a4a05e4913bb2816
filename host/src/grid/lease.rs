//! A lease: one of an app's dynos in use, or the right to start it. However a lease ends, its place is given back.

use std::sync::Arc;
use std::time::Instant;

use corundum_abi::names::{DynoName, ProcessType};
use tokio::runtime::Handle;

use super::Release;
use super::app::App;
use super::policy::{Isolation, Limits};
use crate::dyno::Dyno;

/// A dyno in use.
pub(super) struct Lease {
    app: Arc<App>,
    /// The release it belongs to.
    pub(super) release: Arc<Release>,
    /// Its number in the formation.
    pub(super) number: u32,
    /// The app's count of restarts when it was started.
    pub(super) generation: u64,
    /// None while it is to be started.
    pub(super) dyno: Option<Box<Dyno>>,
    /// Requests it has served.
    pub(super) served: u32,
    /// When it was started.
    pub(super) started: Instant,
    /// Who gets its place when it ends.
    pub(super) heir: Option<Arc<App>>,
    ended: bool,
}

impl Lease {
    /// The right to start a dyno of `number`; its places in the app and the node are taken.
    pub(super) fn new(app: Arc<App>, release: Arc<Release>, number: u32, generation: u64) -> Self {
        let started = Instant::now();
        Self {
            app,
            release,
            number,
            generation,
            dyno: None,
            served: 0,
            started,
            heir: None,
            ended: false,
        }
    }

    /// The dyno's name.
    pub(super) fn name(&self) -> DynoName {
        DynoName {
            process: ProcessType::web(),
            number: self.number,
        }
    }

    /// The app it serves.
    pub(super) fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Gives the dyno back: to the next request, to wait for one, or to its end when it is due.
    pub(super) fn give_back(self) {
        self.app.clone().returned(self);
    }

    /// Why the dyno must not serve another request, if so.
    pub(super) fn due(&self, limits: &Limits) -> Option<Due> {
        let dyno = self.dyno.as_ref()?;
        if self.release.isolation == Isolation::Request {
            Some(Due::Isolation)
        } else if dyno.reached_memory_limit().is_some() || dyno.grown_bytes() > limits.growth {
            Some(Due::Memory)
        } else if self.served >= limits.requests {
            Some(Due::Requests)
        } else if self.started.elapsed() > limits.age {
            Some(Due::Age)
        } else {
            None
        }
    }

    /// Ends the lease and its dyno, but not on this request's time: emptying a memory takes as long as filling it. A
    /// task of the same thread runs when the response has been written; one of another thread might run before, on the
    /// same core.
    pub(super) fn retire(mut self) {
        let Some(dyno) = self.dyno.take() else { return };
        let here = Handle::try_current();
        let runtime = here.unwrap_or_else(|_| self.app.shared().compute.clone());
        runtime.spawn(async move {
            drop(dyno);
            // Its place is free when its memory is.
            drop(self);
        });
    }

    /// Forgets the lease: the dyno waits in the app's idle list, its places stay taken.
    pub(super) fn into_idle(mut self) -> Option<Box<Dyno>> {
        self.ended = true;
        self.dyno.take()
    }

    /// A dyno out of the idle list.
    pub(super) fn from_idle(
        app: Arc<App>,
        release: Arc<Release>,
        number: u32,
        generation: u64,
        dyno: Box<Dyno>,
        (served, started): (u32, Instant),
    ) -> Self {
        Self {
            app,
            release,
            number,
            generation,
            dyno: Some(dyno),
            served,
            started,
            heir: None,
            ended: false,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.ended {
            self.app.clone().ended(self.number, self.heir.take());
        }
    }
}

/// Why a dyno is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Isolation,
    Memory,
    Requests,
    Age,
}

impl Due {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Isolation => "one request each",
            Self::Memory => "memory",
            Self::Requests => "requests served",
            Self::Age => "age",
        }
    }
}

//! One dyno: an image's memory and a pack's code linked together, and the calls of the dyno ABI.
//!
//! A dyno does one call at a time. Dropping the future of a call ends the guest in the middle of whatever it does;
//! the dyno is then good for nothing and must be dropped too.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use corundum_abi::exports;
use corundum_abi::scgi::RequestHead;
use corundum_exchange::BodyStream;
use tokio::sync::{mpsc, oneshot};
use wasi_common::WasiCtx;
use wasmtime::{Instance, Memory, Store, TypedFunc};

use crate::engine::Engine;
use crate::exchange::{Input, Output, OutputError, Progress, Request, Response, SampleOutput};
use crate::image::Image;
use crate::log::{LineSplitter, LogSink};
use crate::memory::{MemoryBound, Quota};
use crate::native;
use crate::os::{self, Filesystem};
use crate::pack::Pack;

/// The status that a guest ended with by `proc_exit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("exited with status {0}")]
pub struct Exit(pub i32);

/// A dyno could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The engine refused: no free slot, or an image that does not fit the pack.
    #[error("a dyno could not be instantiated: {0}")]
    Instantiate(String),
    /// A module of the pack lacks what the dyno ABI asks for.
    #[error("the pack does not export {0} as the dyno ABI has it")]
    Export(&'static str),
    /// An argument or variable that cannot be passed.
    #[error("the environment cannot be passed to the dyno: {0}")]
    Environ(String),
}

/// A call ended without its result. Either way the dyno must be dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The guest called `exit`.
    #[error(transparent)]
    Exit(#[from] Exit),
    /// The guest trapped, with the engine's words.
    #[error("trapped: {0}")]
    Trap(String),
    /// The guest returned a status that is not 0.
    #[error("returned status {0}")]
    Status(i32),
    /// The guest returned, but left no response.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// What a dyno holds on the host's side.
pub(crate) struct State {
    pub(crate) wasi: WasiCtx,
    pub(crate) memory: Option<Memory>,
    pub(crate) input: Input,
    pub(crate) output: Output,
    pub(crate) log: LineSplitter,
    quota: Quota,
    cpu: Arc<Cpu>,
    /// See [`corundum_abi::exports::INTERRUPT`]; 0 for none.
    pub(crate) interrupt: u32,
    /// The time on the engine's clock when its slice is over.
    pub(crate) slice_ends: u32,
}

impl State {
    /// Nanoseconds the guest has computed.
    pub(crate) fn cpu_time(&self) -> u64 {
        let since = self.cpu.since.load(Ordering::Relaxed);
        let now = if since == 0 {
            0
        } else {
            os::monotonic_now().saturating_sub(since)
        };
        self.cpu.total.load(Ordering::Relaxed) + now
    }
}

/// Computing time: what is done with, and when the running stretch began.
#[derive(Default)]
struct Cpu {
    total: AtomicU64,
    since: AtomicU64,
}

/// A dyno.
pub struct Dyno {
    store: Store<State>,
    engine: Engine,
    image: Instance,
    last: Instance,
    memory: Memory,
    handle: TypedFunc<(), i32>,
    filesystem: Arc<Filesystem>,
    hot_pages: Arc<[(usize, usize)]>,
    cpu: Arc<Cpu>,
    restored_size: usize,
}

impl Dyno {
    /// Makes a dyno in the state that `image` was written in. Nothing of the guest runs yet.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub async fn instantiate(
        engine: &Engine,
        pack: &Pack,
        image: &Image,
        filesystem: Arc<Filesystem>,
        log: Arc<dyn LogSink>,
    ) -> Result<Self, StartError> {
        let failed = |error: wasmtime::Error| StartError::Instantiate(format!("{error:#}"));
        let wasi = os::context(&filesystem);
        let wasi = wasi.map_err(|error| StartError::Environ(error.to_string()))?;
        let cpu = Arc::new(Cpu::default());
        let state = State {
            wasi,
            memory: None,
            input: Input::empty(),
            output: Output::Closed,
            log: LineSplitter::new(log),
            quota: engine.quota(),
            cpu: cpu.clone(),
            interrupt: image.interrupt(),
            slice_ends: engine.clock().first_slice(),
        };
        let mut store = Store::new(engine.wasmtime(), state);
        store.limiter(|state| &mut state.quota);
        let image_instance = image.instantiate(&mut store).await.map_err(failed)?;
        let memory = image_instance.get_memory(&mut store, "memory");
        let memory = memory.ok_or(StartError::Export("memory"))?;
        store.data_mut().memory = Some(memory);
        let last = pack
            .link(&mut store, image_instance)
            .await
            .map_err(failed)?;
        let handle = last
            .get_typed_func(&mut store, exports::HANDLE)
            .map_err(|_| StartError::Export(exports::HANDLE))?;
        let restored_size = memory.data_size(&store);
        Ok(Self {
            store,
            engine: engine.clone(),
            image: image_instance,
            last,
            memory,
            handle,
            filesystem,
            hot_pages: image.hot_pages(),
            cpu,
            restored_size,
        })
    }

    /// Runs a pack's `_initialize`, where it has one.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    pub async fn initialize(&mut self) -> Result<(), Failure> {
        match self
            .last
            .get_typed_func::<(), ()>(&mut self.store, exports::INITIALIZE)
        {
            Ok(initialize) => self.call(initialize).await,
            Err(_) => Ok(()),
        }
    }

    /// Asks a guest where it wants to be told of ended time slices; 0 if it does not.
    pub(crate) async fn interrupt(&mut self) -> Result<u32, Failure> {
        match self
            .last
            .get_typed_func::<(), i32>(&mut self.store, exports::INTERRUPT)
        {
            Ok(interrupt) => Ok(self.call(interrupt).await?.cast_unsigned()),
            Err(_) => Ok(0),
        }
    }

    /// Loads the app and offers it sample requests, which `progress` watches.
    ///
    /// # Errors
    ///
    /// [`Failure`]; the app's own words are in its log.
    pub(crate) async fn boot(
        &mut self,
        samples: impl Iterator<Item = RequestHead>,
        progress: Arc<Progress>,
    ) -> Result<(), Failure> {
        let heads = samples.map(|head| Bytes::copy_from_slice(head.as_bytes()));
        let state = self.store.data_mut();
        state.input = Input::samples(heads.collect(), progress);
        state.output = Output::Samples(SampleOutput::default());
        let booted = self.call_named(exports::BOOT).await;
        let state = self.store.data_mut();
        state.input.finish();
        state.output = Output::Closed;
        booted
    }

    /// Wakes a dyno that was made from a booted image.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    pub async fn restore(&mut self) -> Result<(), Failure> {
        native::populate(self.memory.data_mut(&mut self.store), &self.hot_pages);
        let record = self.filesystem.process().wake_record();
        self.store.data_mut().input = Input::whole(record.into());
        let restored = self.call_named(exports::RESTORE).await;
        self.store.data_mut().input.finish();
        restored
    }

    /// Serves one request. The response goes to `answer`, before or as this ends. Returns the head's buffer for reuse.
    /// `spent` gets the time it took to compute and the memory it left, before the end of the response is seen.
    ///
    /// # Errors
    ///
    /// [`Failure`]; `answer` is then dropped, or its body ends in an error.
    pub async fn handle(
        &mut self,
        request: Request,
        answer: oneshot::Sender<Response>,
        progress: Arc<Progress>,
        spent: impl FnOnce(Duration, usize),
    ) -> Result<Vec<u8>, Failure> {
        let before = self.cpu_time();
        let state = self.store.data_mut();
        state.input = Input::request(request, progress.clone());
        state.output = Output::response(answer, progress);
        let result = self.call(self.handle.clone()).await;
        spent(self.cpu_time().saturating_sub(before), self.memory_bytes());
        let state = self.store.data_mut();
        state.log.end_line();
        let buffer = state.input.finish();
        let ended = match result {
            Ok(0) => state.output.finish().await.map_err(Failure::from),
            Ok(status) => Err(Failure::Status(status)),
            Err(failure) => Err(failure),
        };
        if ended.is_err() {
            state.output.abort();
        }
        ended.map(|()| buffer)
    }

    /// Runs a command to its end; the result is its exit status.
    ///
    /// # Errors
    ///
    /// [`Failure::Trap`] and [`Failure::Output`]; an exit is a result.
    pub async fn run(
        &mut self,
        input: BodyStream,
        output: mpsc::Sender<Bytes>,
    ) -> Result<i32, Failure> {
        let state = self.store.data_mut();
        state.input = Input::stream(input);
        state.output = Output::Stream(output);
        let run = self
            .last
            .get_typed_func::<(), i32>(&mut self.store, exports::RUN);
        let run = run.map_err(|_| Failure::Trap(format!("the pack has no {}", exports::RUN)))?;
        let result = self.call(run).await;
        let state = self.store.data_mut();
        state.input.finish();
        state.output = Output::Closed;
        state.log.end_line();
        match result {
            Err(Failure::Exit(Exit(status))) => Ok(status),
            other => other,
        }
    }

    /// Time the guest has computed.
    pub fn cpu_time(&self) -> Duration {
        Duration::from_nanos(self.cpu.total.load(Ordering::Relaxed))
    }

    /// Bytes of its memory, the image included.
    pub fn memory_bytes(&self) -> usize {
        self.memory.data_size(&self.store)
    }

    /// Bytes its memory has grown by since it was started.
    pub fn grown_bytes(&self) -> usize {
        self.memory_bytes().saturating_sub(self.restored_size)
    }

    /// Whether it asked for more memory than it may have, and whose bound that was.
    pub fn reached_memory_limit(&self) -> Option<MemoryBound> {
        self.store.data().quota.reached()
    }

    /// The memory as it is now. Only between calls is it worth a snapshot.
    pub(crate) fn memory(&self) -> &[u8] {
        self.memory.data(&self.store)
    }

    /// The globals that an image holds, by the names it exports them under.
    pub(crate) fn globals(&mut self) -> Vec<(String, wasmtime::Val)> {
        let exports = self.image.exports(&mut self.store);
        let globals: Vec<_> = exports
            .filter_map(|export| {
                let name = export.name().to_owned();
                export.into_global().map(|global| (name, global))
            })
            .collect();
        globals
            .into_iter()
            .map(|(name, global)| (name, global.get(&mut self.store)))
            .collect()
    }

    async fn call_named(&mut self, name: &'static str) -> Result<(), Failure> {
        let function = self.last.get_typed_func::<(), i32>(&mut self.store, name);
        let function = function.map_err(|_| Failure::Trap(format!("the pack has no {name}")))?;
        let result = self.call(function).await;
        self.store.data_mut().log.end_line();
        match result? {
            0 => Ok(()),
            status => Err(Failure::Status(status)),
        }
    }

    async fn call<R: wasmtime::WasmResults + Sync + 'static>(
        &mut self,
        function: TypedFunc<(), R>,
    ) -> Result<R, Failure> {
        let _running = self.engine.running();
        self.store.data_mut().slice_ends = self.engine.clock().first_slice();
        let cpu = &self.cpu;
        let mut call = pin!(function.call_async(&mut self.store, ()));
        let timed = std::future::poll_fn(|context| {
            let start = os::monotonic_now();
            cpu.since.store(start, Ordering::Relaxed);
            let polled = call.as_mut().poll(context);
            cpu.since.store(0, Ordering::Relaxed);
            cpu.total
                .fetch_add(os::monotonic_now().saturating_sub(start), Ordering::Relaxed);
            match polled {
                Poll::Ready(result) => Poll::Ready(result),
                Poll::Pending => Poll::Pending,
            }
        });
        timed
            .await
            .map_err(|error| match error.downcast_ref::<Exit>() {
                Some(exit) => Failure::Exit(*exit),
                None => Failure::Trap(format!("{:#}", error.root_cause())),
            })
    }
}

impl fmt::Debug for Dyno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dyno")
            .field("memory", &self.memory_bytes())
            .finish_non_exhaustive()
    }
}

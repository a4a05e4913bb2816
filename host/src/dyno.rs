//! One dyno: an image's memory and a pack's code linked together, and the calls of the dyno ABI.
//!
//! A dyno runs one call at a time. Dropping the future of a call stops the guest in the middle of its work; the dyno
//! cannot be used afterwards and must be dropped too.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use corundum_abi::scgi::RequestHead;
use corundum_abi::{CONNECTION_DESCRIPTOR, exports};
use corundum_exchange::{BodyStream, ClientConnection, RequestBody, RequestUsage};
use tokio::sync::{mpsc, oneshot};
use wasmtime::{Instance, Memory, Store, Trap, TypedFunc};

use crate::account::{Account, Holding, OutOfReserve};
use crate::console::{RunSession, streams};
use crate::engine::Engine;
use crate::extensions::state::DynoExtensions;
use crate::extensions::{self, ExtensionRecord};
use crate::fibers::FiberStacks;
use crate::guest_state::{CpuTime, GuestState, InterruptFlag};
use crate::image::{DamagedFiles, Image, ImageSnapshot};
use crate::log::{LineSplitter, LogSink};
use crate::memory::{MemoryBound, MemoryLimits, MemoryQuota};
use crate::native;
use crate::net::DynoNetwork;
use crate::os::{self, Filesystem};
use crate::outbound::{OutboundGate, OutboundRules};
use crate::pack::linked::Pack;
use crate::private_pages::PrivatePages;
use crate::request::{DynoRequest, DynoResponse, RequestProgress};
use crate::sample_session::SharedSession;
use crate::stdio::{Input, Output, OutputError};
use crate::tools::{DynoTools, ToolRunner};

pub use crate::guest_state::Exit;

/// Bytes of exceptions after which a dyno is replaced; about 200,000 exceptions.
const MAX_EXCEPTION_BYTES: usize = 8 << 20;

/// The failure of a dyno that has no room for its client's connection.
const NO_CONNECTION: &str = "the dyno has too many open files for its client's connection";

/// The trap of a guest whose exceptions reach the limit of memory. Exceptions are all that guests allocate in the
/// engine's heap.
const EXCEPTIONS_FILL_MEMORY: &str =
    "the dyno has thrown so many exceptions that they fill its memory: it keeps each until it ends";

/// Failure to create a dyno.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The engine has no free slot, or the image does not fit the pack.
    #[error("cannot instantiate the dyno: {0}")]
    Instantiate(String),
    /// A module of the pack lacks an export of the dyno ABI.
    #[error("the pack does not export {0} with the type that the dyno ABI requires")]
    Export(&'static str),
    /// The files of the image belong to another slug.
    #[error(transparent)]
    Files(#[from] DamagedFiles),
    /// An argument or a variable contains a NUL byte.
    #[error("cannot pass the environment to the dyno: {0}")]
    Environ(String),
}

/// Failure of a call of a guest. The dyno cannot be used any more and must be dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The guest called `exit`.
    #[error(transparent)]
    Exit(#[from] Exit),
    /// The guest trapped; the text is the engine's message.
    #[error("trapped: {0}")]
    Trap(String),
    /// The guest returned a status other than 0.
    #[error("returned status {0}")]
    Status(i32),
    /// The guest returned but wrote no valid response.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// A running copy of an image that serves requests or runs a command.
pub struct Dyno {
    store: Store<GuestState>,
    engine: Engine,
    image: Instance,
    /// The pack's last module, which exports the dyno ABI.
    exports: Instance,
    memory: Memory,
    handle: TypedFunc<(), i32>,
    filesystem: Arc<Filesystem>,
    hot_pages: Arc<[(usize, usize)]>,
    cpu: Arc<CpuTime>,
    restored_size: usize,
    /// Head of the request whose call has failed.
    failed_request: RequestHead,
    /// Time at which the guest's threads want to run, if they do before the next request.
    threads_due: Option<Instant>,
}

impl Dyno {
    /// Creates a dyno in the state that `image` holds. No guest code runs yet.
    ///
    /// # Errors
    ///
    /// Returns a [`StartError`] if the engine is full, or if image, pack and environment do not fit together.
    pub async fn instantiate(
        engine: &Engine,
        pack: &Pack,
        image: &Image,
        filesystem: Arc<Filesystem>,
        outbound: OutboundRules,
        log: Arc<dyn LogSink>,
    ) -> Result<Self, StartError> {
        let failed = |error: wasmtime::Error| StartError::Instantiate(format!("{error:#}"));
        let wasi = os::context(&filesystem);
        let (wasi, files) = wasi.map_err(|error| StartError::Environ(error.to_string()))?;
        let cpu = Arc::new(CpuTime::default());
        let account = filesystem.account();
        let state = GuestState {
            wasi,
            files,
            memory: None,
            network: DynoNetwork::new(
                filesystem.clone(),
                OutboundGate::new(outbound, account, log.clone()),
            ),
            tools: DynoTools::default(),
            extensions: DynoExtensions::new(account),
            input: Input::empty(),
            output: Output::Closed,
            log: LineSplitter::new(log),
            session: None,
            exchanges_on_standard_streams: pack.exchanges_on_standard_streams(),
            quota: MemoryQuota::new(engine.config().memory_limit, account),
            pages: PrivatePages::new(account),
            cpu: cpu.clone(),
            stacks: FiberStacks::new(engine.stack_budget(), account),
            interrupt: image.interrupt(),
            slice_ends: engine.clock().first_slice_end(),
        };
        let mut store = Store::new(engine.wasmtime(), state);
        store.limiter(|state| &mut state.quota);
        let image_instance = image.instantiate(&mut store).await.map_err(failed)?;
        let memory = image_instance.get_memory(&mut store, "memory");
        let memory = memory.ok_or(StartError::Export("memory"))?;
        store.data_mut().memory = Some(memory);
        let abi_instance = pack
            .link(&mut store, image_instance)
            .await
            .map_err(failed)?;
        for (code, place) in image.extensions() {
            let linked = extensions::link(&mut store, code, *place, true).await;
            linked.map_err(failed)?;
        }
        let handle = abi_instance
            .get_typed_func(&mut store, exports::HANDLE)
            .map_err(|_| StartError::Export(exports::HANDLE))?;
        let restored_size = memory.data_size(&store);
        store.data_mut().pages.set_image(restored_size);
        Ok(Self {
            store,
            engine: engine.clone(),
            image: image_instance,
            exports: abi_instance,
            memory,
            handle,
            filesystem,
            hot_pages: image.hot_pages(),
            cpu,
            restored_size,
            failed_request: RequestHead::default(),
            threads_due: None,
        })
    }

    /// Calls the pack's `_initialize`, if it has one.
    ///
    /// # Errors
    ///
    /// Returns a [`CallError`] if the guest exits or traps.
    pub async fn initialize(&mut self) -> Result<(), CallError> {
        match self
            .exports
            .get_typed_func::<(), ()>(&mut self.store, exports::INITIALIZE)
        {
            Ok(initialize) => self.call(initialize).await,
            Err(_) => Ok(()),
        }
    }

    /// Asks the guest for the location of its interrupt flag, which the host sets when a time slice ends.
    pub(crate) async fn interrupt_flag(&mut self) -> Result<InterruptFlag, CallError> {
        Ok(InterruptFlag {
            address: self.number(exports::INTERRUPT).await?,
            offset: self.number(exports::INTERRUPT_OFFSET).await?,
        })
    }

    /// Calls an optional export that returns a number. Returns 0 if the guest lacks it.
    async fn number(&mut self, name: &str) -> Result<u32, CallError> {
        match self
            .exports
            .get_typed_func::<(), i32>(&mut self.store, name)
        {
            Ok(function) => Ok(self.call(function).await?.cast_unsigned()),
            Err(_) => Ok(0),
        }
    }

    /// Loads the app and offers it sample requests, whose times `progress` records.
    ///
    /// # Errors
    ///
    /// Returns a [`CallError`] if the app does not load; its own messages are in its log.
    pub(crate) async fn boot(
        &mut self,
        samples: SharedSession,
        progress: Arc<RequestProgress>,
    ) -> Result<(), CallError> {
        let state = self.store.data_mut();
        state.input = Input::samples(samples.clone(), progress);
        state.output = Output::Samples(samples);
        let booted = self.call_named(exports::BOOT).await;
        let state = self.store.data_mut();
        state.input.finish();
        state.output = Output::Closed;
        booted
    }

    /// Prepares a dyno that was created from a booted image for its first request.
    ///
    /// # Errors
    ///
    /// Returns a [`CallError`] if a hook of the app fails.
    pub async fn restore(&mut self) -> Result<(), CallError> {
        native::populate(self.memory.data_mut(&mut self.store), &self.hot_pages);
        let record = self.filesystem.process().restore_record();
        self.store.data_mut().input = Input::whole(record.into());
        let restored = self.call_named(exports::RESTORE).await;
        self.store.data_mut().input.finish();
        restored
    }

    /// Serves one request. The response is sent to `answer`, before this returns or at the same time.
    ///
    /// `usage` is recorded before the end of the response can be observed.
    ///
    /// # Errors
    ///
    /// Returns a [`CallError`] if the guest does not complete the response; `answer` is then dropped, or the body that
    /// was sent to it ends in an error.
    pub async fn handle(
        &mut self,
        request: DynoRequest,
        answer: oneshot::Sender<DynoResponse>,
        progress: Arc<RequestProgress>,
        usage: &RequestUsage,
    ) -> Result<(), CallError> {
        let before = self.cpu_time();
        let state = self.store.data_mut();
        let request = match request.body {
            RequestBody::Connection(connection) => {
                let ClientConnection { socket, .. } = connection;
                let (network, wasi) = (&mut state.network, &state.wasi);
                let inserted = network.insert_connection(wasi, CONNECTION_DESCRIPTOR, socket);
                inserted.map_err(|_| CallError::Trap(NO_CONNECTION.to_owned()))?;
                DynoRequest {
                    head: request.head,
                    body: RequestBody::Empty,
                }
            }
            _ => request,
        };
        state.input = Input::request(request, progress.clone());
        state.output = Output::response(answer, progress);
        let result = self.call(self.handle.clone()).await;
        let cpu = self.cpu_time();
        usage.record(cpu.saturating_sub(before), self.memory_bytes() as u64);
        self.settle_pages();
        self.threads_due = match result {
            Ok(exports::SERVED_WITH_THREADS) => Some(Instant::now()),
            _ => None,
        };
        let state = self.store.data_mut();
        if state.network.has(CONNECTION_DESCRIPTOR) {
            let (network, wasi) = (&mut state.network, &mut state.wasi);
            network.remove_connection(wasi, CONNECTION_DESCRIPTOR);
        }
        state.log.end_line();
        let head = state.input.finish();
        let ended = match result {
            Ok(0 | exports::SERVED_WITH_THREADS) => {
                state.output.finish().await.map_err(CallError::from)
            }
            Ok(status) => Err(CallError::Status(status)),
            Err(error) => Err(error),
        };
        if ended.is_err() {
            state.output.abort();
            self.failed_request = head;
        }
        ended
    }

    /// Charges what the guest has taken without a call of the host.
    fn settle_pages(&mut self) {
        let cpu = self.cpu_time();
        if self.store.data().pages.is_due(cpu) {
            let (memory, state) = self.memory.data_and_store_mut(&mut self.store);
            // A dyno for whose pages the node has no memory is replaced (`reached_memory_limit`).
            let _ = state.settle_pages(memory, cpu);
        }
    }

    /// Returns the time at which the guest's threads want to run, if they do before the next request.
    pub(crate) fn threads_due(&self) -> Option<Instant> {
        self.threads_due
    }

    /// Lets the guest's threads run, for a time slice at most.
    ///
    /// # Errors
    ///
    /// Returns a [`CallError`] if a thread exits, traps or ends the process by an exception.
    pub(crate) async fn run_threads(&mut self) -> Result<(), CallError> {
        self.threads_due = None;
        let idle = self
            .exports
            .get_typed_func::<(), i64>(&mut self.store, exports::IDLE);
        let idle = idle.map_err(|_| missing_export(exports::IDLE))?;
        let next = self.call(idle).await;
        self.settle_pages();
        self.store.data_mut().log.end_line();
        let next = match next? {
            exports::IDLE_FAILED => return Err(CallError::Exit(Exit(1))),
            next => u64::try_from(next).ok(),
        };
        self.threads_due =
            next.and_then(|next| Instant::now().checked_add(Duration::from_nanos(next)));
        Ok(())
    }

    /// Returns the head of the request whose call has failed.
    pub(crate) fn failed_request(&self) -> &RequestHead {
        &self.failed_request
    }

    /// Runs a command with the streams of a session to its end and returns its exit status.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::Trap`] if the guest traps, or if the node has no memory for the streams. A call of `exit` is
    /// not an error; its status is the result.
    pub(crate) async fn run_session(&mut self, session: Arc<RunSession>) -> Result<i32, CallError> {
        let mut charge = self.filesystem.account().charge(Holding::Streams);
        let charged = charge.try_resize(RunSession::memory(session.pieces()));
        charged.map_err(|error: OutOfReserve| CallError::Trap(error.to_string()))?;
        streams::install(&session, &self.store.data().wasi);
        self.store.data_mut().session = Some(session);
        self.run_export().await
    }

    /// Sets the limits of the dyno's memory; `log` gets a line when it exceeds its quota.
    pub(crate) fn set_memory_limits(&mut self, limits: MemoryLimits, log: Arc<dyn LogSink>) {
        self.store.data_mut().quota.set_limits(limits, log);
    }

    /// Returns the account of what the host holds for the dyno.
    pub(crate) fn account(&self) -> &Arc<Account> {
        self.filesystem.account()
    }

    /// Returns the clock of the time that the guest computes.
    pub(crate) fn cpu(&self) -> &Arc<CpuTime> {
        &self.cpu
    }

    /// Gives the dyno a runner of its commands.
    pub(crate) fn set_tools(&mut self, runner: Arc<dyn ToolRunner>) {
        self.store.data_mut().tools.runner = Some(runner);
    }

    /// Runs a command to its end and returns its exit status. Its standard error goes to the log.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::Trap`] if the guest traps. A call of `exit` is not an error; its status is the result.
    pub async fn run(
        &mut self,
        input: BodyStream,
        output: mpsc::Sender<Bytes>,
    ) -> Result<i32, CallError> {
        let state = self.store.data_mut();
        state.input = Input::stream(input);
        state.output = Output::Stream(output);
        self.run_export().await
    }

    async fn run_export(&mut self) -> Result<i32, CallError> {
        let run = self
            .exports
            .get_typed_func::<(), i32>(&mut self.store, exports::RUN);
        let run = run.map_err(|_| missing_export(exports::RUN))?;
        let result = self.call(run).await;
        let state = self.store.data_mut();
        state.input.finish();
        state.output = Output::Closed;
        state.log.end_line();
        match result {
            Err(CallError::Exit(Exit(status))) => Ok(status),
            other => other,
        }
    }

    /// Returns the time that the guest has computed.
    pub fn cpu_time(&self) -> Duration {
        self.cpu.finished()
    }

    /// Returns the bytes of the guest's memory, the image included.
    pub fn memory_bytes(&self) -> usize {
        self.memory.data_size(&self.store)
    }

    /// Returns the bytes that the guest's memory has grown by since the dyno was created.
    pub(crate) fn grown_bytes(&self) -> usize {
        self.memory_bytes().saturating_sub(self.restored_size)
    }

    /// Tells whether the guest's exceptions have filled so much of the engine's heap, which is never collected, that the
    /// dyno should be replaced.
    pub(crate) fn has_full_exception_heap(&self) -> bool {
        self.store.gc_heap_capacity() > MAX_EXCEPTION_BYTES
    }

    /// Returns the bound that refused the guest more memory, if one did.
    pub(crate) fn reached_memory_limit(&self) -> Option<MemoryBound> {
        self.store.data().quota.reached()
    }

    /// Returns the bytes that the host holds for the dyno alone, as far as they are known.
    pub(crate) fn held_bytes(&self) -> usize {
        self.filesystem.account().held()
    }

    /// Returns the guest's memory. Its content is consistent only between calls.
    pub(crate) fn memory(&self) -> &[u8] {
        self.memory.data(&self.store)
    }

    /// Takes a snapshot of the guest's memory and globals. Call it between calls of the guest only.
    pub(crate) fn snapshot(&mut self) -> ImageSnapshot<'_> {
        let exports = self.image.exports(&mut self.store);
        let globals: Vec<_> = exports
            .filter_map(|export| {
                let name = export.name().to_owned();
                export.into_global().map(|global| (name, global))
            })
            .collect();
        let of_extensions = self.store.data().extensions.globals();
        let globals = globals.into_iter().chain(of_extensions);
        let globals = globals
            .map(|(name, global)| (name, global.get(&mut self.store)))
            .collect();
        ImageSnapshot {
            memory: self.memory(),
            globals,
        }
    }

    /// Returns the native extensions that the guest has loaded, for an image.
    pub(crate) fn extension_records(&self) -> Vec<ExtensionRecord> {
        self.store.data().extensions.records()
    }

    /// Returns what the guest has changed in files and left open, for an image; `None` if that is nothing.
    pub(crate) fn files(&self) -> Option<Vec<u8>> {
        self.store.data().files.layer()
    }

    async fn call_named(&mut self, name: &'static str) -> Result<(), CallError> {
        let function = self
            .exports
            .get_typed_func::<(), i32>(&mut self.store, name);
        let function = function.map_err(|_| missing_export(name))?;
        let result = self.call(function).await;
        self.store.data_mut().log.end_line();
        match result? {
            0 => Ok(()),
            status => Err(CallError::Status(status)),
        }
    }

    async fn call<R: wasmtime::WasmResults + Sync + 'static>(
        &mut self,
        function: TypedFunc<(), R>,
    ) -> Result<R, CallError> {
        let _active = self.engine.enter_guest();
        self.store.data_mut().slice_ends = self.engine.clock().first_slice_end();
        let cpu = &self.cpu;
        let mut call = pin!(function.call_async(&mut self.store, ()));
        let timed = poll_fn(|context| cpu.measure(|| call.as_mut().poll(context)));
        timed
            .await
            .map_err(|error| match error.downcast_ref::<Exit>() {
                Some(exit) => CallError::Exit(*exit),
                None if error.downcast_ref() == Some(&Trap::AllocationTooLarge) => {
                    CallError::Trap(EXCEPTIONS_FILL_MEMORY.to_owned())
                }
                None => CallError::Trap(format!("{:#}", error.root_cause())),
            })
    }
}

fn missing_export(name: &str) -> CallError {
    CallError::Trap(format!("the pack has no {name}"))
}

impl fmt::Debug for Dyno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dyno")
            .field("memory", &self.memory_bytes())
            .finish_non_exhaustive()
    }
}

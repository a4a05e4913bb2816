//! Dynos without router and network: the time to start one, and the memory of a live one.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corundum_compiler::process::environ;
use corundum_exchange::{RequestBody, RequestUsage};
use corundum_host::dyno::Dyno;
use corundum_host::engine::{Allocation, Engine, EngineConfig};
use corundum_host::image::cache::ImageCache;
use corundum_host::image::{Image, patch_file};
use corundum_host::log::DiscardLog;
use corundum_host::os::{Filesystem, GuestProcess, TmpLimits};
use corundum_host::outbound::OutboundRules;
use corundum_host::pack::Pack;
use corundum_host::request::DynoRequest;
use corundum_host::sample_request::SampleTarget;
use corundum_pack::PackDir;
use corundum_pack::archive::Archive;
use corundum_pack::ruby;
use tokio::sync::oneshot;

use crate::machine::{page_table_kib, private_kib};

/// An app whose dynos are measured.
pub(crate) struct DynoBench {
    engine: Engine,
    pack: Arc<Pack>,
    outbound: OutboundRules,
    image: Arc<Image>,
    slug: Arc<Archive>,
    /// The full file of the image.
    _full: tempfile::TempDir,
    /// Time to load the compiled code of the pack.
    pub(crate) pack_load: Duration,
}

/// Start times of dynos.
#[derive(Default)]
pub(crate) struct StartTimes {
    /// From the image to an instance.
    pub(crate) instantiate: Vec<Duration>,
    /// From the image to the first byte of a response.
    pub(crate) first_byte: Vec<Duration>,
}

/// Memory of live dynos, each of which has served a request.
pub(crate) struct LiveDynos {
    pub(crate) count: usize,
    /// Private memory of each, in KiB.
    pub(crate) private_kib: f64,
    /// Page tables of each, in KiB.
    pub(crate) page_table_kib: f64,
}

impl DynoBench {
    /// Opens the image and the slug of an app, with room for `dynos` dynos.
    pub(crate) async fn open(pack: &Path, image: &Path, slug: &Path, dynos: u32) -> Self {
        let config = EngineConfig {
            allocation: Allocation::Pooled { dynos },
            ..EngineConfig::default()
        };
        let engine = Engine::new(config).unwrap();
        let directory = PackDir::open(pack).unwrap();
        let start = Instant::now();
        let pack = Pack::open(&engine, &directory, Arc::new(DiscardLog), |_| {}).await;
        let (pack, pack_load) = (Arc::new(pack.unwrap()), start.elapsed());
        let full = tempfile::tempdir().unwrap();
        let images = ImageCache::new(engine.clone(), full.path().to_owned(), u64::MAX);
        let patch = image.join(patch_file(&pack.manifest().digest));
        let image = Arc::new(images).open("bench", &patch, &pack).await.unwrap();
        let slug = Arc::new(corundum_host::slug::open(slug, None).unwrap());
        Self {
            engine,
            pack,
            image,
            slug,
            _full: full,
            pack_load,
            outbound: OutboundRules::closed(),
        }
    }

    /// StartTimes `count` dynos one after another, each of which serves a request and ends.
    pub(crate) async fn starts(&self, count: usize) -> StartTimes {
        let mut starts = StartTimes::default();
        for _ in 0..count {
            let start = Instant::now();
            let mut dyno = self.instantiate().await;
            starts.instantiate.push(start.elapsed());
            serve(&mut dyno).await;
            starts.first_byte.push(start.elapsed());
        }
        starts
    }

    /// Keeps `count` dynos at once, each of which has served a request.
    pub(crate) async fn hold(&self, count: usize) -> LiveDynos {
        let process = std::process::id();
        let before = (private_kib(process), page_table_kib(process));
        let mut dynos = Vec::with_capacity(count);
        for _ in 0..count {
            let mut dyno = self.instantiate().await;
            serve(&mut dyno).await;
            dynos.push(dyno);
        }
        let each = |before, after: u64| after.saturating_sub(before) as f64 / count as f64;
        LiveDynos {
            count: dynos.len(),
            private_kib: each(before.0, private_kib(process)),
            page_table_kib: each(before.1, page_table_kib(process)),
        }
    }

    async fn instantiate(&self) -> Dyno {
        let arguments = Arc::from(["rackup".to_owned()]);
        let process = GuestProcess::new(
            arguments,
            environ(ruby::profile(), []),
            self.image.booted_at(),
        )
        .with_variable("DYNO", "web.1".to_owned());
        let (root, slug) = (self.pack.root().clone(), Some(self.slug.clone()));
        let account = self.engine.account(TmpLimits::default());
        let filesystem = Arc::new(Filesystem::new(root, slug, None, process, account));
        let (rules, log) = (self.outbound.clone(), Arc::new(DiscardLog));
        Dyno::instantiate(
            &self.engine,
            &self.pack,
            &self.image,
            filesystem,
            rules,
            log,
        )
        .await
        .unwrap()
    }
}

async fn serve(dyno: &mut Dyno) {
    dyno.restore().await.unwrap();
    let (answer, answered) = oneshot::channel();
    let request = DynoRequest {
        head: SampleTarget::root("localhost").head(),
        body: RequestBody::Empty,
    };
    dyno.handle(request, answer, Arc::default(), &RequestUsage::default())
        .await
        .unwrap();
    assert_eq!(answered.await.unwrap().head.status, 200);
}

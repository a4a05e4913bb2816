//! The page `/metrics`. Its size is bounded by the number of apps: statuses are classes, codes are a fixed list, and no
//! host, path, dyno or client is a label.

mod exposition;
mod process;

use std::sync::Arc;

use corundum_abi::names::AppName;
use corundum_host::grid::{AppStatus, DynoGrid};
use corundum_router::metrics::{AppMetrics, MetricsRegistry, RouterMetrics};

pub(crate) use self::exposition::CONTENT_TYPE;
use self::exposition::{MetricKind, MetricsPage};

type CountedApps = Vec<(AppName, Arc<AppMetrics>)>;

/// The sources of a node's metrics.
pub struct NodeMetrics {
    /// The grid.
    pub grid: DynoGrid,
    /// The apps' metrics.
    pub apps: Arc<MetricsRegistry>,
    /// The router's metrics.
    pub router: Arc<RouterMetrics>,
    /// The most connections that the router accepts at once.
    pub connections: usize,
}

/// Returns the whole page.
pub(crate) fn page(metrics: &NodeMetrics) -> String {
    let mut page = MetricsPage::default();
    node(&mut page, metrics);
    process::write(&mut page);
    let apps = metrics.grid.apps();
    dynos(&mut page, &apps);
    commands(&mut page, &metrics.grid, &apps);
    // An app without requests has nothing to show but its dynos.
    let mut apps = metrics.apps.all();
    apps.retain(|(_, metrics)| metrics.statuses().any(|(_, count)| count > 0));
    requests(&mut page, &apps);
    times(&mut page, &apps);
    page.finish()
}

fn node(page: &mut MetricsPage, metrics: &NodeMetrics) {
    let version = env!("CARGO_PKG_VERSION");
    page.family(
        "corundum_build_info",
        MetricKind::Gauge,
        "Version of the node.",
    )
    .value(&[("version", version)], 1);
    let router = &metrics.router;
    page.family(
        "corundum_connections",
        MetricKind::Gauge,
        "Open client connections.",
    )
    .value(&[], router.open());
    page.family(
        "corundum_connections_total",
        MetricKind::Counter,
        "Accepted client connections.",
    )
    .value(&[], router.accepted());
    page.family(
        "corundum_connections_limit",
        MetricKind::Gauge,
        "Most client connections at once.",
    )
    .value(&[], metrics.connections);
    page.family(
        "corundum_unrouted_requests_total",
        MetricKind::Counter,
        "Requests for a host that no app has.",
    )
    .value(&[], router.unrouted());
    let grid = &metrics.grid;
    page.family(
        "corundum_live_dynos",
        MetricKind::Gauge,
        "Live dynos of all apps, including one-off dynos.",
    )
    .value(&[], grid.live());
    page.family(
        "corundum_live_dynos_limit",
        MetricKind::Gauge,
        "Most live dynos at once.",
    )
    .value(&[], grid.capacity());
    let (held, reserve) = grid.reserve();
    page.family(
        "corundum_memory_reserve_used_bytes",
        MetricKind::Gauge,
        "Memory that dynos hold of the node's reserve.",
    )
    .value(&[], held as u64);
    page.family(
        "corundum_memory_reserve_bytes",
        MetricKind::Gauge,
        "The node's reserve of memory for dynos.",
    )
    .value(&[], reserve as u64);
    let (mapped, mappings) = grid.mappings();
    page.family(
        "corundum_kernel_mappings",
        MetricKind::Gauge,
        "Kernel mappings of images and dynos.",
    )
    .value(&[], mapped as u64);
    page.family(
        "corundum_kernel_mappings_limit",
        MetricKind::Gauge,
        "Most kernel mappings of images and dynos.",
    )
    .value(&[], mappings as u64);
}

fn dynos(page: &mut MetricsPage, apps: &[AppStatus]) {
    let mut family = page.family("corundum_dynos", MetricKind::Gauge, "Web dynos by state.");
    for app in apps {
        let name = app.name.as_str();
        family
            .value(&[("app", name), ("state", "busy")], app.busy)
            .value(&[("app", name), ("state", "idle")], app.idle);
    }
    let mut gauge = |name, help, value: fn(&AppStatus) -> u64| {
        let mut family = page.family(name, MetricKind::Gauge, help);
        for app in apps {
            family.value(&[("app", app.name.as_str())], value(app));
        }
    };
    gauge("corundum_formation", "Most web dynos of an app.", |app| {
        app.formation.into()
    });
    gauge(
        "corundum_queue_length",
        "Requests waiting for a dyno.",
        |app| app.waiting as u64,
    );
    gauge(
        "corundum_circuit_open",
        "1 while requests of an app are refused because its dynos crash.",
        |app| app.circuit_open.into(),
    );
    gauge(
        "corundum_dyno_memory_bytes",
        "Memory of live dynos after their last request, beside the pages that they share.",
        |app| app.memory as u64,
    );
    gauge(
        "corundum_command_memory_bytes",
        "Memory of the dynos that run commands, beside the pages that they share.",
        |app| app.command_memory as u64,
    );
}

fn commands(page: &mut MetricsPage, grid: &DynoGrid, apps: &[AppStatus]) {
    let mut cpu = page.family(
        "corundum_command_cpu_seconds_total",
        MetricKind::Counter,
        "Processor time of processes beside web, and of other commands.",
    );
    for app in apps {
        let time = grid.command_time(&app.name);
        if !time.is_zero() {
            cpu.value(&[("app", app.name.as_str())], time.as_secs_f64());
        }
    }
}

fn requests(page: &mut MetricsPage, apps: &CountedApps) {
    let mut by = |name, help, label, values: fn(&AppMetrics) -> Vec<(&'static str, u64)>| {
        let mut family = page.family(name, MetricKind::Counter, help);
        for (app, metrics) in apps {
            let seen = values(metrics).into_iter().filter(|(_, count)| *count > 0);
            for (value, count) in seen {
                family.value(&[("app", app.as_str()), (label, value)], count);
            }
        }
    };
    by(
        "corundum_requests_total",
        "Requests by status class.",
        "status",
        |metrics| metrics.statuses().collect(),
    );
    by(
        "corundum_request_failures_total",
        "Requests that the router failed, by error code.",
        "code",
        |metrics| metrics.codes().collect(),
    );
    by(
        "corundum_cache_requests_total",
        "Requests by cache result.",
        "result",
        |metrics| metrics.cache().collect(),
    );
}

fn times(page: &mut MetricsPage, apps: &CountedApps) {
    let mut sent = page.family(
        "corundum_response_bytes_total",
        MetricKind::Counter,
        "Bytes of response bodies.",
    );
    for (app, metrics) in apps {
        sent.value(&[("app", app.as_str())], metrics.bytes());
    }
    let mut cpu = page.family(
        "corundum_dyno_cpu_seconds_total",
        MetricKind::Counter,
        "Processor time of dynos.",
    );
    for (app, metrics) in apps {
        cpu.value(&[("app", app.as_str())], metrics.cpu().as_secs_f64());
    }
    let help = "Time from dispatch to a dyno to the end of the response.";
    let mut service = page.family(
        "corundum_request_duration_seconds",
        MetricKind::Histogram,
        help,
    );
    for (app, metrics) in apps {
        service.histogram(&[("app", app.as_str())], &metrics.service());
    }
    let help = "Time that requests waited for a dyno.";
    let mut queue = page.family("corundum_queue_wait_seconds", MetricKind::Histogram, help);
    for (app, metrics) in apps {
        queue.histogram(&[("app", app.as_str())], &metrics.queue());
    }
}

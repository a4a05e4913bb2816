//! What `/metrics` shows. Its size is bounded by the number of apps: statuses are classes, codes a fixed list, and
//! neither hosts nor paths, dynos or clients are labels.

mod exposition;
mod process;

use std::sync::Arc;

use corundum_abi::names::AppName;
use corundum_host::grid::AppStatus;
use corundum_router::metrics::AppMetrics;

pub(crate) use self::exposition::CONTENT_TYPE;
use self::exposition::{Kind, Page};
use crate::admin::Admin;

type Counted = Vec<(AppName, Arc<AppMetrics>)>;

/// The whole page.
pub(crate) fn page(admin: &Admin) -> String {
    let mut page = Page::default();
    node(&mut page, admin);
    process::write(&mut page);
    let grid = admin.platform.grid().apps();
    dynos(&mut page, &grid);
    // An app that has not been asked for anything has nothing to show but its dynos.
    let mut apps = admin.platform.metrics().all();
    apps.retain(|(_, figures)| figures.statuses().any(|(_, count)| count > 0));
    requests(&mut page, &apps);
    times(&mut page, &apps);
    page.finish()
}

fn node(page: &mut Page, admin: &Admin) {
    let version = env!("CARGO_PKG_VERSION");
    page.family("corundum_build_info", Kind::Gauge, "The version that runs.")
        .value(&[("version", version)], 1);
    let router = &admin.router;
    page.family(
        "corundum_connections",
        Kind::Gauge,
        "Clients' connections that are open.",
    )
    .value(&[], router.open());
    page.family(
        "corundum_connections_total",
        Kind::Counter,
        "Clients' connections so far.",
    )
    .value(&[], router.accepted());
    page.family(
        "corundum_connections_limit",
        Kind::Gauge,
        "Connections that are taken at once.",
    )
    .value(&[], admin.connections);
    page.family(
        "corundum_unrouted_requests_total",
        Kind::Counter,
        "Requests whose host is no app's.",
    )
    .value(&[], router.unrouted());
    let grid = admin.platform.grid();
    page.family(
        "corundum_live_dynos",
        Kind::Gauge,
        "Dynos of all apps, one-off dynos among them.",
    )
    .value(&[], grid.live());
    page.family(
        "corundum_live_dynos_limit",
        Kind::Gauge,
        "Dynos that the node has room for.",
    )
    .value(&[], grid.capacity());
}

fn dynos(page: &mut Page, apps: &[AppStatus]) {
    let mut family = page.family("corundum_dynos", Kind::Gauge, "Web dynos, by what they do.");
    for app in apps {
        let name = app.name.as_str();
        family
            .value(&[("app", name), ("state", "busy")], app.busy)
            .value(&[("app", name), ("state", "idle")], app.idle);
    }
    let mut gauge = |name, help, value: fn(&AppStatus) -> u64| {
        let mut family = page.family(name, Kind::Gauge, help);
        for app in apps {
            family.value(&[("app", app.name.as_str())], value(app));
        }
    };
    gauge(
        "corundum_formation",
        "Web dynos that an app may have.",
        |app| app.formation.into(),
    );
    gauge(
        "corundum_queue_length",
        "Requests that wait for a dyno.",
        |app| app.waiting as u64,
    );
    gauge(
        "corundum_circuit_open",
        "Whether an app's requests are refused, since its dynos only crash.",
        |app| app.circuit_open.into(),
    );
    gauge(
        "corundum_dyno_memory_bytes",
        "Memory of the dynos that are up, as of their last request.",
        |app| app.memory as u64,
    );
}

fn requests(page: &mut Page, apps: &Counted) {
    let mut by = |name, help, label, values: fn(&AppMetrics) -> Vec<(&'static str, u64)>| {
        let mut family = page.family(name, Kind::Counter, help);
        for (app, figures) in apps {
            let seen = values(figures).into_iter().filter(|(_, count)| *count > 0);
            for (value, count) in seen {
                family.value(&[("app", app.as_str()), (label, value)], count);
            }
        }
    };
    by(
        "corundum_requests_total",
        "Requests, by class of status.",
        "status",
        |figures| figures.statuses().collect(),
    );
    by(
        "corundum_request_failures_total",
        "Requests that the router answered itself, by code.",
        "code",
        |figures| figures.codes().collect(),
    );
    by(
        "corundum_cache_requests_total",
        "Requests, by what the cache did for them.",
        "result",
        |figures| figures.cache().collect(),
    );
}

fn times(page: &mut Page, apps: &Counted) {
    let mut sent = page.family(
        "corundum_response_bytes_total",
        Kind::Counter,
        "Bytes of bodies sent.",
    );
    for (app, figures) in apps {
        sent.value(&[("app", app.as_str())], figures.bytes());
    }
    let mut cpu = page.family(
        "corundum_dyno_cpu_seconds_total",
        Kind::Counter,
        "Time that dynos computed.",
    );
    for (app, figures) in apps {
        cpu.value(&[("app", app.as_str())], figures.cpu().as_secs_f64());
    }
    let help = "From a dyno's having a request to the end of its response.";
    let mut service = page.family("corundum_request_duration_seconds", Kind::Histogram, help);
    for (app, figures) in apps {
        service.distribution(&[("app", app.as_str())], &figures.service());
    }
    let help = "How long requests waited for a dyno.";
    let mut queue = page.family("corundum_queue_wait_seconds", Kind::Histogram, help);
    for (app, figures) in apps {
        queue.distribution(&[("app", app.as_str())], &figures.queue());
    }
}

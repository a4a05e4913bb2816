//! Proxies of Debian, each with one worker and without a log: nginx, Varnish and Traffic Server as caches in front of a
//! server, nginx also for files.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use corundum_test_support::http1::RepeatingClient;
use corundum_test_support::process::ChildProcess;
use rustix::process::Signal;

/// A running proxy with its own directory.
pub(super) struct Proxy {
    pub(super) port: u16,
    process: ChildProcess,
    _directory: tempfile::TempDir,
}

/// ProxyKind of proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyKind {
    /// nginx with `proxy_cache`; it serves files of `public` itself.
    Nginx,
    Varnish,
    TrafficServer,
}

impl ProxyKind {
    pub(super) const ALL: [Self; 3] = [Self::Nginx, Self::Varnish, Self::TrafficServer];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Varnish => "Varnish",
            Self::TrafficServer => "ATS",
        }
    }
}

impl Proxy {
    /// Starts a proxy on `port` in front of the server on `origin`, and waits until it answers.
    pub(super) fn start(kind: ProxyKind, port: u16, origin: u16, public: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = match kind {
            ProxyKind::Nginx => nginx(directory.path(), port, origin, public),
            ProxyKind::Varnish => varnish(directory.path(), port, origin),
            ProxyKind::TrafficServer => traffic_server(directory.path(), port, origin),
        };
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // On SIGTERM, the proxies also end their workers.
        let process = ChildProcess::spawn(&mut command).stopped_by(Signal::TERM);
        let proxy = Self {
            port,
            process,
            _directory: directory,
        };
        let start = Instant::now();
        loop {
            let answer =
                RepeatingClient::connect(port, "localhost", "").and_then(|mut client| client.get());
            if answer.is_ok_and(|answer| answer.status == 200) {
                return proxy;
            }
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "{kind:?} does not answer"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Proxy {
    /// Returns the ID of the process whose children are the workers.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }
}

fn nginx(directory: &Path, port: u16, origin: u16, public: &Path) -> Command {
    let text = format!(
        "daemon off; worker_processes 1; pid {0}/pid; error_log {0}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; keepalive_requests 100000000;
  types {{ text/plain txt; }}
  open_file_cache max=1000 inactive=60s; open_file_cache_valid 60s;
  client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/fastcgi;
  uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;
  proxy_cache_path {0}/cache keys_zone=pages:10m;
  server {{
    listen 127.0.0.1:{port}; root {public};
    location / {{ try_files $uri @app; }}
    location = / {{ proxy_pass http://127.0.0.1:{origin}; }}
    location @app {{ proxy_cache pages; proxy_pass http://127.0.0.1:{origin}; }}
  }}
}}",
        directory.display(),
        public = public.display()
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, text).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-c").arg(file).arg("-p").arg(directory);
    command
}

fn varnish(directory: &Path, port: u16, origin: u16) -> Command {
    let mut command = Command::new("varnishd");
    command
        .args(["-F", "-j", "none", "-s", "malloc,256m", "-n"])
        .arg(directory.join("varnish"))
        .args(["-a", &format!("127.0.0.1:{port}")])
        .args(["-b", &format!("127.0.0.1:{origin}")]);
    command
}

/// Configures Traffic Server with a `runroot` file, which names the places of all its files.
fn traffic_server(directory: &Path, port: u16, origin: u16) -> Command {
    let place = directory.display();
    for part in ["etc", "run", "log", "cache"] {
        fs::create_dir(directory.join(part)).unwrap();
    }
    for entry in fs::read_dir("/etc/trafficserver").unwrap() {
        let entry = entry.unwrap();
        let copy = directory.join("etc").join(entry.file_name());
        if entry.path().is_file() {
            fs::copy(entry.path(), copy).unwrap();
        }
    }
    let etc = |name: &str, text: String| {
        fs::write(directory.join("etc").join(name), text).unwrap();
    };
    etc(
        "records.config",
        format!(
            "CONFIG proxy.config.http.server_ports STRING {port}:ip-in=127.0.0.1
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 1
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.cache.ram_cache.size INT 268435456
CONFIG proxy.config.url_remap.remap_required INT 1
"
        ),
    );
    etc(
        "remap.config",
        format!("map / http://127.0.0.1:{origin}/\n"),
    );
    etc("storage.config", format!("{place}/cache 64M\n"));
    fs::write(
        directory.join("runroot.yaml"),
        format!(
            "prefix: /usr\nexec_prefix: /usr\nbindir: /usr/bin\nsbindir: /usr/sbin\nsysconfdir: {place}/etc
datadir: /usr/share/trafficserver\nincludedir: /usr/include\nlibdir: /usr/lib
libexecdir: /usr/lib/trafficserver/modules\nlocalstatedir: {place}/run\nruntimedir: {place}/run
logdir: {place}/log\ncachedir: {place}/cache\n"
        ),
    )
    .unwrap();
    let mut command = Command::new("traffic_server");
    command.arg(format!("--run-root={place}/runroot.yaml"));
    command
}

//! Tests of the build pipeline with a sandbox that runs no code.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeMap;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use corundum_abi::outbound::OutboundPolicy;
use corundum_compiler::gems::{
    GemCache, GemCredentials, GemFetcher, GemSources, RepositoryFetcher,
};
use corundum_compiler::pipeline::{
    self, BuildEnv, BuildError, BuildPhase, BuiltApp, GemfileError, IMAGE_DIRECTORY, SLUG_FILE,
};
use corundum_compiler::report::BuildReport;
use corundum_compiler::sandbox::{
    BootAttempt, BootRequest, BootedApp, CommandTools, SampleAnswer, Sandbox, SandboxApp,
    SandboxError, SandboxOutput,
};
use corundum_pack::archive::{self, Archive, ArchiveWriter};
use corundum_pack::{Manifest, Member};

/// Returns the bytes of the archive that a slug's file holds.
fn expanded(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = archive::expand(path, &std::env::temp_dir())?;
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A sandbox with prepared results, which records the arguments of each process.
struct FakeSandbox {
    manifest: Manifest,
    gemfile: Result<SandboxOutput, &'static str>,
    assets: SandboxOutput,
    boots: bool,
    log: String,
    sample: Result<u16, String>,
    started: Mutex<Vec<Vec<String>>>,
}

impl FakeSandbox {
    fn new() -> Self {
        let member = || Member::of("x", "x", b"");
        Self {
            manifest: Manifest {
                abi: 1,
                language: "ruby".to_owned(),
                version: "3.4.1".to_owned(),
                series: "3.4".to_owned(),
                origin: "npm".to_owned(),
                digest: String::new(),
                modules: Vec::new(),
                image: member(),
                root: member(),
                gems: BTreeMap::new(),
                extensions: Vec::new(),
                symbols: None,
                profile: None,
                probe: None,
            },
            gemfile: Ok(SandboxOutput {
                status: 0,
                stdout: br#"{"gems": [], "error": null}"#.to_vec(),
            }),
            assets: SandboxOutput {
                status: 0,
                stdout: b"[[\"public/assets/a.css\",3]]\na{}".to_vec(),
            },
            boots: true,
            log: "hello from the app".to_owned(),
            sample: Ok(200),
            started: Mutex::default(),
        }
    }

    fn start(&self, app: &SandboxApp) {
        let mut started = self.started.lock().unwrap();
        started.push(app.arguments.to_vec());
    }
}

impl Sandbox for FakeSandbox {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn open_slug(&self, path: &Path) -> Result<Arc<Archive>, SandboxError> {
        let platform = |error: std::io::Error| SandboxError::Platform(error.into());
        let bytes = expanded(path).map_err(platform)?;
        Ok(Arc::new(Archive::new(bytes).unwrap()))
    }

    fn run(&self, app: &SandboxApp) -> Result<SandboxOutput, SandboxError> {
        self.start(app);
        self.gemfile
            .clone()
            .map_err(|error| SandboxError::Timeout(error.into()))
    }

    fn root(&self) -> Arc<Archive> {
        Arc::new(Archive::new(ArchiveWriter::new(Vec::new()).finish().unwrap().output).unwrap())
    }

    fn build(
        &self,
        app: &SandboxApp,
        _tools: Option<Arc<dyn CommandTools>>,
    ) -> (String, Result<SandboxOutput, SandboxError>) {
        self.start(app);
        (self.log.clone(), Ok(self.assets.clone()))
    }

    fn compile_extension(&self, _wasm: &[u8]) -> Result<(), SandboxError> {
        Ok(())
    }

    fn boot(&self, request: &BootRequest<'_>) -> BootAttempt {
        self.start(request.app);
        let result = if self.boots {
            std::fs::create_dir(request.image).unwrap();
            Ok(BootedApp {
                time: Duration::from_millis(7),
                samples: vec![
                    SampleAnswer {
                        path: "/".to_owned(),
                        status: self.sample.clone(),
                        log: "/app/config.ru:1:in `call': no (RuntimeError)".to_owned(),
                    },
                    SampleAnswer {
                        path: "/late".to_owned(),
                        status: self.sample.clone(),
                        log: String::new(),
                    },
                ],
            })
        } else {
            Err(SandboxError::App("the app did not load".into()))
        };
        BootAttempt {
            log: self.log.clone(),
            result,
        }
    }
}

/// Output directory, sandbox and report of one build.
struct BuildFixture {
    directory: tempfile::TempDir,
    sandbox: FakeSandbox,
    report: Vec<u8>,
}

impl BuildFixture {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            sandbox: FakeSandbox::new(),
            report: Vec::new(),
        }
    }

    fn build(&mut self, files: &[(&str, &str)]) -> Result<BuiltApp, BuildError> {
        self.run(|env, report| pipeline::build_tree(tar(files).as_slice(), env, report))
    }

    fn run<T>(
        &mut self,
        build: impl FnOnce(&BuildEnv<'_, FakeSandbox>, &mut BuildReport<&mut Vec<u8>>) -> T,
    ) -> T {
        let directory = self.directory.path();
        let cache = GemCache::new(&directory.join("gems"), directory);
        let outbound = OutboundPolicy::default();
        let env = BuildEnv {
            outbound: &outbound,
            sandbox: &self.sandbox,
            output: directory,
            gem_sources: GemSources {
                directories: &[],
                fetcher: &GemFetcher::new([], cache),
                repositories: &RepositoryFetcher::new([], GemCredentials::default(), directory),
            },
            cache: self.directory.path(),
            pack: self.directory.path(),
            gemfile_timeout: Duration::from_secs(3),
            slug_limit: 1 << 20,
            host: "myapp.localhost:8080",
            config: &[],
        };
        build(&env, &mut BuildReport::new(&mut self.report))
    }

    fn report(&self) -> String {
        String::from_utf8(self.report.clone()).unwrap()
    }

    fn started(&self) -> Vec<Vec<String>> {
        self.sandbox.started.lock().unwrap().clone()
    }
}

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, path, text.as_bytes())
            .unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn tree_becomes_a_slug_and_an_image() {
    let mut fixture = BuildFixture::new();
    let built = fixture.build(&[
        ("Gemfile", ""),
        ("Procfile", "web: rackup -p '$PORT'"),
        ("config.ru", "run App"),
        (".slugignore", "*.log"),
        ("debug.log", "x"),
    ]);
    let built = built.unwrap();
    assert_eq!(
        fixture.report(),
        "-----> Ruby app detected
-----> Using Ruby version: ruby-3.4.1
       Ruby 3.4 comes from npm until it is built from source, and lacks until then:
         sockets and TLS
         threads that run beside each other
         the C parts of bcrypt, bigdecimal, commonmarker and racc
         a seed of hashes for each app
         SystemStackError for deep recursion in C, which ends the dyno
-----> Installing dependencies
-----> Discovering process types
       Procfile declares types -> web
-----> Compressing... done, 305B
       hello from the app
-----> Booting... done (7 ms)
"
    );
    assert_eq!(
        fixture.started(),
        [vec!["corundum-gemfile"], vec!["rackup", "-p", "$PORT"]]
    );
    assert!(built.slug.is_some());
    assert_eq!(built.description.web_command(), "rackup -p '$PORT'");
    let output = fixture.directory.path();
    assert!(output.join(IMAGE_DIRECTORY).is_dir());
    let slug = Archive::new(expanded(&output.join(SLUG_FILE)).unwrap()).unwrap();
    assert!(slug.lookup("config.ru").is_some());
    assert!(slug.lookup("debug.log").is_none());
}

#[test]
fn existing_slug_gets_a_new_image() {
    let mut fixture = BuildFixture::new();
    let built = fixture.build(&[("config.ru", "run App")]).unwrap();
    let slug = fixture.directory.path().join(SLUG_FILE);
    let mut second = BuildFixture::new();
    let rebuilt = second
        .run(|env, report| pipeline::rebuild_image(&slug, env, report))
        .unwrap();
    assert_eq!(rebuilt.slug, None);
    assert_eq!(rebuilt.description, built.description);
    assert_eq!(second.started(), [["rackup"]]);
    assert!(second.directory.path().join(IMAGE_DIRECTORY).is_dir());
}

#[test]
fn failed_boot_is_reported_with_the_log_of_the_app() {
    let mut fixture = BuildFixture::new();
    fixture.sandbox.boots = false;
    let error = fixture.build(&[("config.ru", "exit 1")]).unwrap_err();
    assert_eq!(error.phase(), BuildPhase::Boot);
    assert_eq!(error.to_string(), "the app did not load");
    let report = fixture.report();
    let end = "-----> Booting... failed\n       hello from the app\n";
    assert!(report.ends_with(end), "{report}");
}

#[test]
fn cause_of_a_failed_boot_is_last_and_long_backtraces_are_cut() {
    let mut fixture = BuildFixture::new();
    fixture.sandbox.boots = false;
    let frames = "\tfrom /app/a.rb:1:in `x'\n".repeat(500);
    let message = "/app/config.ru:1:in `<main>': broken (RuntimeError)";
    fixture.sandbox.log = format!("{message}\n{frames}");
    let error = fixture.build(&[("config.ru", "")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the app did not load\n{message}")
    );
    let report = fixture.report();
    assert!(report.contains("lines left out)"), "{report}");
    assert!(report.lines().count() < 40, "{report}");
}

#[test]
fn app_that_fails_its_sample_requests_is_released_with_a_warning() {
    for (sample, warning) in [
        (
            Ok(500),
            "       Warning: the sample request GET / failed: the app answered with status 500\n       \
             /app/config.ru:1:in `call': no (RuntimeError)\n",
        ),
        (
            Err("the app takes longer than 2 s".to_owned()),
            "       Warning: the sample request GET / failed: the app takes longer than 2 s\n",
        ),
        (Ok(404), ""),
    ] {
        let mut fixture = BuildFixture::new();
        fixture.sandbox.sample = sample;
        fixture.build(&[("config.ru", "")]).unwrap();
        let report = fixture.report();
        assert!(report.contains(warning), "{report}");
        let late = report.contains("Warning: the sample request GET /late failed: ");
        assert_eq!(late, !warning.is_empty(), "{report}");
    }
}

#[test]
fn process_types_that_cannot_run_are_named() {
    let report = |files: &[(&str, &str)]| {
        let mut fixture = BuildFixture::new();
        fixture.build(files).unwrap();
        fixture.report()
    };
    let all = report(&[
        ("config.ru", ""),
        (
            "Procfile",
            "web: rackup\nrelease: rake db:migrate\nworker: rake work | tee log\nclock: ruby c.rb &",
        ),
    ]);
    for note in [
        "       The process type worker cannot be scaled: \"rake work | tee log\": a dyno has no shell for pipes between commands",
        "       The process type clock cannot be scaled: \"ruby c.rb &\": a dyno has no shell for commands in the background",
    ] {
        assert!(all.contains(note), "{note} in\n{all}");
    }
    let plain = report(&[("config.ru", ""), ("Procfile", "worker: a && b ${C:-d}")]);
    assert!(!plain.contains("cannot be scaled"), "{plain}");
}

/// A lockfile with these gems.
fn lockfile(gems: &str) -> String {
    format!(
        "GEM\n  remote: https://rubygems.org/\n  specs:\n{gems}\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n"
    )
}

#[test]
fn assets_are_compiled_into_the_slug_unless_the_tree_has_them() {
    let propshaft = lockfile("    propshaft (1.0.0)\n");
    let manifest = ("public/assets/.manifest.json", "{}");
    for (files, compiles) in [
        (
            vec![("lib/tasks/a.rake", "task('assets:precompile')")],
            true,
        ),
        (vec![("Rakefile", "task('assets:precompile')")], true),
        (vec![("Gemfile.lock", propshaft.as_str())], true),
        (vec![("Gemfile.lock", propshaft.as_str()), manifest], false),
        (vec![("Rakefile", "task(:test)")], false),
    ] {
        let mut fixture = BuildFixture::new();
        let files: Vec<_> = [("config.ru", "")].into_iter().chain(files).collect();
        fixture.build(&files).unwrap();
        let started = fixture.sandbox.started.lock().unwrap().clone();
        let has_run = started
            .iter()
            .any(|command| command[0] == "corundum-assets");
        assert_eq!(has_run, compiles, "{files:?}");
        let slug =
            Archive::new(expanded(&fixture.directory.path().join(SLUG_FILE)).unwrap()).unwrap();
        let asset = slug
            .lookup("public/assets/a.css")
            .map(|node| slug.content(node).to_vec());
        assert_eq!(
            asset.as_deref(),
            compiles.then_some(&b"a{}"[..]),
            "{files:?}"
        );
        let report = fixture.report();
        assert_eq!(
            report.contains("Asset precompilation completed ("),
            compiles,
            "{report}"
        );
        let found = report
            .contains("-----> Detected manifest file, assuming assets were compiled locally\n");
        assert_eq!(found, files.contains(&manifest), "{report}");
    }
}

#[test]
fn assets_that_do_not_compile_reject_the_push() {
    for (status, stdout) in [
        (1, ""),
        (0, "no files"),
        (0, "[[\"../../etc/passwd\",1]]\nx"),
    ] {
        let mut fixture = BuildFixture::new();
        fixture.sandbox.log =
            "/app/a.rb:1:in `x': Could not find a JavaScript runtime. (ExecJS::RuntimeUnavailable)"
                .to_owned();
        fixture.sandbox.assets = SandboxOutput {
            status,
            stdout: stdout.as_bytes().to_vec(),
        };
        let error = fixture
            .build(&[("config.ru", ""), ("Rakefile", "task 'assets:precompile'")])
            .unwrap_err();
        assert!(!error.is_platform_fault());
        let text = error.to_string();
        assert!(
            text.starts_with("compiling the app's assets failed"),
            "{text}"
        );
        assert!(
            text.contains("Could not find a JavaScript runtime"),
            "{text}"
        );
        assert!(text.contains("commit its results: public/assets"), "{text}");
    }
}

#[test]
fn sample_requests_of_rails_ask_for_its_health_check() {
    let warm_up = |lockfile: &str, app_json: &str| {
        let mut fixture = BuildFixture::new();
        let files = [
            ("config.ru", ""),
            ("Gemfile.lock", lockfile),
            ("app.json", app_json),
        ];
        let built = fixture.build(&files).unwrap();
        serde_json::to_string(&built.description.warm_up).unwrap()
    };
    let rails = lockfile("    railties (7.2.2)\n");
    assert_eq!(warm_up(&rails, "{}"), r#"["/","/up"]"#);
    assert_eq!(
        warm_up(&rails, r#"{"warm-up": ["/posts"]}"#),
        r#"["/posts"]"#
    );
    assert_eq!(warm_up(&rails, r#"{"warm-up": "none"}"#), r#""none""#);
    assert_eq!(
        warm_up(&lockfile("    sinatra (4.0.0)\n"), "{}"),
        r#""requests""#
    );
}

#[test]
fn ruby_from_npm_that_is_never_built_says_which_ones_are() {
    let report = |series: &str, origin: &str| {
        let mut fixture = BuildFixture::new();
        fixture.sandbox.manifest.series = series.to_owned();
        fixture.sandbox.manifest.origin = origin.to_owned();
        fixture.build(&[("config.ru", "")]).unwrap();
        fixture.report()
    };
    let text = report("4.0", "npm");
    let line = "       Ruby 4.0 comes from npm and lacks, beside Ruby 3.3 and 3.4:\n         sockets and TLS\n";
    assert!(text.contains(line), "{text}");
    let text = report("3.4", "source");
    assert!(!text.contains("lacks"), "{text}");
}

#[test]
fn other_ruby_than_the_locked_one_is_printed() {
    let mut fixture = BuildFixture::new();
    fixture
        .build(&[("config.ru", ""), (".ruby-version", "3.4.0")])
        .unwrap();
    let note = ".ruby-version asks for Ruby 3.4.0, and the app runs on 3.4.1";
    assert!(fixture.report().contains(note), "{}", fixture.report());
}

#[test]
fn gemfile_without_a_result_is_rejected() {
    let build = |gemfile| {
        let mut fixture = BuildFixture::new();
        fixture.sandbox.gemfile = gemfile;
        match fixture.build(&[("Gemfile", "")]) {
            Err(BuildError::Gemfile(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    let output = |status, stdout: &str| {
        let stdout = stdout.as_bytes().to_vec();
        Ok(SandboxOutput { status, stdout })
    };
    let timeout = build(Err("slow"));
    assert!(matches!(timeout, GemfileError::Timeout(_)), "{timeout}");
    let exited = build(output(3, ""));
    assert!(matches!(exited, GemfileError::Exited(3)), "{exited}");
    let printed = build(output(0, "hello{}"));
    assert!(matches!(printed, GemfileError::Printed), "{printed}");
}

#[test]
fn tree_without_an_app_starts_no_process() {
    let mut fixture = BuildFixture::new();
    let error = fixture.build(&[("README", "")]).unwrap_err();
    assert!(matches!(error, BuildError::NotDetected(_)), "{error}");
    assert_eq!(error.phase(), BuildPhase::Compile);
    let unclosed = [("config.ru", ""), ("Procfile", "web: rackup '")];
    let error = fixture.build(&unclosed).unwrap_err();
    assert!(matches!(error, BuildError::Procfile(_)), "{error}");
    assert!(fixture.started().is_empty());
}

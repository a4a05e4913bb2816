//! Installation of gems as in a build, from a gem server over HTTP.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use corundum_compiler::gems::{
    self, FetchError, FetchLimits, GemCache, GemCredentials, GemError, GemFetcher, GemServerError,
    GemSources, GemfileGem, GemfileReport, InstalledGems, RefusedGem, RepositoryFetcher,
};
use corundum_compiler::tree::Tree;
use corundum_pack::archive::FileMode;
use corundum_pack::{Manifest, Member};

use corundum_test_support::gem_package::gem;
use corundum_test_support::gem_server::{GemResponse, GemServer};

const GREETING: &[(&str, &str)] = &[("lib/greeting.rb", "GREETING = 'hello'\n")];

/// The gem cache and the gem directories of a node, and an app that needs the gem `greeting` 1.0.
struct GemBuild {
    directory: tempfile::TempDir,
    tree: Tree,
    gems: Vec<PathBuf>,
    carried: BTreeMap<String, String>,
    limits: FetchLimits,
    sources: Vec<String>,
    config: Vec<(String, String)>,
    said: Vec<String>,
    /// True if the pack can load native extensions that a build compiles.
    builds_extensions: bool,
    /// Gems whose extension is linked into the pack.
    linked: Vec<String>,
}

impl GemBuild {
    /// Makes an app whose lockfile names `remotes`, on a node that allows them.
    fn of(remotes: &[&str], checksums: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("work")).unwrap();
        let mut build = Self {
            directory,
            tree: empty(),
            gems: Vec::new(),
            carried: BTreeMap::new(),
            limits: FetchLimits::default(),
            sources: remotes.iter().map(|remote| (*remote).to_owned()).collect(),
            config: Vec::new(),
            said: Vec::new(),
            builds_extensions: false,
            linked: Vec::new(),
        };
        build.lock(remotes, checksums);
        build
    }

    /// Replaces the tree by one with this lockfile.
    fn lock(&mut self, remotes: &[&str], checksums: &str) {
        let remotes: String = remotes.iter().map(|r| format!("  remote: {r}\n")).collect();
        let text = format!(
            "GEM\n{remotes}  specs:\n    greeting (1.0)\n\nDEPENDENCIES\n  greeting\n\nCHECKSUMS\n{checksums}"
        );
        self.tree = empty();
        self.add("Gemfile.lock", text.as_bytes());
    }

    fn add(&mut self, path: &str, bytes: &[u8]) {
        self.tree.add(path, bytes, FileMode::Plain).unwrap();
    }

    fn install(&mut self) -> Result<InstalledGems, GemError> {
        let gemfile = GemfileReport {
            gems: vec![GemfileGem {
                name: "greeting".to_owned(),
                wanted: true,
                file: Some("Gemfile".to_owned()),
                line: Some(3),
                ..GemfileGem::default()
            }],
            error: None,
        };
        let (cache, scratch) = (self.cache(), self.directory.path().join("work"));
        let sources = self.sources.iter().map(|source| source.parse().unwrap());
        let remote = GemFetcher::new(sources, GemCache::new(&cache, &scratch));
        let credentials = GemCredentials::from_config(&self.config);
        let allowed = self.sources.iter().map(|source| source.parse().unwrap());
        let repositories = RepositoryFetcher::new(allowed, credentials.clone(), &scratch);
        let remote = remote
            .with_limits(self.limits.clone())
            .with_credentials(credentials);
        let sources = GemSources {
            directories: &self.gems,
            fetcher: &remote,
            repositories: &repositories,
        };
        let mut said = Vec::new();
        let mut manifest = manifest(&self.carried);
        manifest.extensions.clone_from(&self.linked);
        manifest.symbols = self
            .builds_extensions
            .then(|| Member::of("symbols", "symbols.json", b""));
        let say = |line: &str| said.push(line.to_owned());
        let result = gems::install(&mut self.tree, &gemfile, &manifest, &sources, say);
        assert_eq!(std::fs::read_dir(scratch).unwrap().count(), 0);
        self.said = said;
        result
    }

    /// Installs the gem. Returns the line of the build output that names its source.
    fn source(&mut self) -> String {
        self.install().unwrap();
        let [line] = self.said.as_slice() else {
            panic!("{:?}", self.said);
        };
        line.clone()
    }

    fn refusal(&mut self) -> FetchError {
        match self.install() {
            Err(GemError::Fetch(error)) => error,
            Err(GemError::Refused(mut gems)) => match gems.pop() {
                Some(RefusedGem {
                    error: GemError::Fetch(error),
                    path,
                }) => {
                    assert_eq!(path, "greeting ← Gemfile line 3");
                    error
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn server_error(&mut self) -> GemServerError {
        match self.refusal() {
            FetchError::Server { error, .. } => error,
            other => panic!("{other:?}"),
        }
    }

    fn cache(&self) -> PathBuf {
        self.directory.path().join("gems")
    }
}

fn empty() -> Tree {
    let tar = tar::Builder::new(Vec::new()).into_inner().unwrap();
    Tree::read(tar.as_slice(), 1 << 20).unwrap()
}

fn manifest(carried: &BTreeMap<String, String>) -> Manifest {
    let member = || Member::of("x", "x", b"");
    Manifest {
        abi: 1,
        language: "ruby".to_owned(),
        version: "3.4.1".to_owned(),
        series: "3.4".to_owned(),
        origin: "npm".to_owned(),
        digest: String::new(),
        modules: Vec::new(),
        image: member(),
        root: member(),
        gems: carried.clone(),
        extensions: Vec::new(),
        symbols: None,
        profile: None,
        probe: None,
    }
}

fn greeting() -> Vec<u8> {
    gem("greeting", "1.0", GREETING, "")
}

/// Starts a server with the gem, and a build that uses it.
fn published() -> (GemServer, GemBuild) {
    let server = GemServer::start();
    server.publish("greeting", "1.0", &greeting());
    let build = GemBuild::of(&[&server.url()], "");
    (server, build)
}

#[test]
fn a_gem_is_downloaded_once_and_then_cached() {
    let (server, mut build) = published();
    let from = format!("Installing greeting 1.0 from {}", server.url());
    assert_eq!(build.source(), from);
    assert_eq!(
        server.requested(),
        ["/info/greeting", "/gems/greeting-1.0.gem"]
    );
    let file = "vendor/bundle/ruby/3.4.0/gems/greeting-1.0/lib/greeting.rb";
    assert_eq!(build.tree.text(file).unwrap().unwrap(), GREETING[0].1);
    build.lock(&[&server.url()], "");
    assert_eq!(build.source(), "Installing greeting 1.0 from the gem cache");
    assert_eq!(server.requested(), ["/info/greeting"]);
}

#[test]
fn a_checksum_in_the_lockfile_makes_the_cache_independent_of_the_server() {
    let (server, mut build) = published();
    let checksum = server.publish("greeting", "1.0", &greeting());
    let checksums = format!("  greeting (1.0) sha256={checksum}\n");
    build.lock(&[&server.url()], &checksums);
    build.install().unwrap();
    server.stop();
    build.lock(&[&server.url()], &checksums);
    assert_eq!(build.source(), "Installing greeting 1.0 from the gem cache");
    // A damaged file is not used: the build requests the gem from the server.
    let file = build.cache().join(format!("{checksum}.gem"));
    std::fs::write(&file, "damaged").unwrap();
    build.lock(&[&server.url()], &checksums);
    assert!(matches!(
        build.server_error(),
        GemServerError::Unreachable { .. }
    ));
    assert!(!file.exists());
}

#[test]
fn a_source_that_is_not_allowed_gets_no_request() {
    let (server, mut build) = published();
    build.sources = vec!["https://rubygems.org/".to_owned()];
    let error = build.refusal().to_string();
    let option = format!("--gem-source {}", server.url());
    assert!(error.contains(&option), "{error}");
    assert_eq!(server.requested(), [""; 0]);
    // The cache is not used for such a source either.
    build.sources = vec![server.url()];
    build.install().unwrap();
    build.sources.clear();
    build.lock(&[&server.url()], "");
    assert!(matches!(build.refusal(), FetchError::NotAllowed { .. }));
}

#[test]
fn credentials_in_a_source_are_refused_and_not_printed() {
    let (server, mut build) = published();
    let url = server.url().replace("127", "me:secret@127");
    build.lock(&[&url], "");
    let error = build.refusal();
    assert!(matches!(error, FetchError::Source { .. }));
    assert!(!error.to_string().contains("secret"), "{error}");
    for bad in ["file:///etc/passwd", "/etc/passwd", "s3://bucket"] {
        build.lock(&[bad], "");
        assert!(
            matches!(build.refusal(), FetchError::Source { .. }),
            "{bad}"
        );
    }
    assert_eq!(server.requested(), [""; 0]);
}

#[test]
fn private_server_gets_the_credentials_of_config_and_its_gems_are_not_shared() {
    let (server, mut build) = published();
    server.require_authorization("Basic bWU6c2VjcmV0");
    let error = build.server_error().to_string();
    assert!(
        error.contains("corundum config:set BUNDLE_127__0__0__1=USER:PASSWORD"),
        "{error}"
    );
    let variable = "BUNDLE_127__0__0__1".to_owned();
    build.config = vec![(variable.clone(), "me:wrong".to_owned())];
    let error = build.server_error();
    assert!(matches!(error, GemServerError::Forbidden { .. }));
    assert!(!error.to_string().contains("wrong"), "{error}");
    build.config = vec![(variable, "me:secret".to_owned())];
    assert!(build.source().ends_with(&server.url()));
    assert!(!build.cache().exists());
    // A server that is redirected to gets no credentials.
    let storage = GemServer::start();
    storage.require_authorization("Basic bWU6c2VjcmV0");
    let moved = format!("{}greeting", storage.url());
    server.set("/gems/greeting-1.0.gem", GemResponse::Redirect(moved));
    build.sources.push(storage.url());
    build.lock(&[&server.url()], "");
    let error = build.server_error();
    assert!(
        matches!(error, GemServerError::Forbidden { .. }),
        "{error:?}"
    );
}

#[test]
fn a_gem_with_a_wrong_checksum_is_not_installed() {
    let (server, mut build) = published();
    let other = gem("greeting", "1.0", &[("lib/greeting.rb", "evil\n")], "");
    server.set("/gems/greeting-1.0.gem", GemResponse::Bytes(other));
    let error = build.refusal();
    assert!(matches!(error, FetchError::Checksum(_)), "{error}");
    assert!(!build.cache().exists());
    let checksums = format!("  greeting (1.0) sha256={}\n", "0".repeat(64));
    build.lock(&[&server.url()], &checksums);
    let error = build.refusal().to_string();
    for part in [
        "greeting 1.0",
        "Gemfile.lock",
        &"0".repeat(64),
        "--add-checksums",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(build.said, [""; 0]);
}

#[test]
fn missing_gems_versions_platforms_and_files_are_different_errors() {
    let server = GemServer::start();
    let mut build = GemBuild::of(&[&server.url()], "");
    assert!(matches!(build.refusal(), FetchError::UnknownGem { .. }));
    server.add_to_index("greeting", &format!("1.1 |checksum:{}\n", "0".repeat(64)));
    let error = build.refusal();
    assert!(
        matches!(error, FetchError::UnknownVersion { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("yanked"), "{error}");
    let line = format!("1.0-x86_64-linux |checksum:{}\n", "0".repeat(64));
    server.add_to_index("greeting", &line);
    let error = build.refusal().to_string();
    assert!(
        error.contains("precompiled builds (x86_64-linux)"),
        "{error}"
    );
    // The index lists the version, but the file is missing.
    server.add_to_index("greeting", &format!("1.0 |checksum:{}\n", "0".repeat(64)));
    assert!(matches!(build.server_error(), GemServerError::NotFound(_)));
}

#[test]
fn an_invalid_index_is_an_error() {
    let server = GemServer::start();
    let mut build = GemBuild::of(&[&server.url()], "");
    for text in ["<html>Sign in</html>", "---\n1.0 |ruby:>= 2\n"] {
        server.set("/info/greeting", GemResponse::Bytes(text.into()));
        assert!(
            matches!(build.refusal(), FetchError::Index { .. }),
            "{text}"
        );
    }
}

#[test]
fn invalid_responses_are_different_errors() {
    let (server, mut build) = published();
    let file = "/gems/greeting-1.0.gem";
    let mut answered = |answer: GemResponse| {
        server.set(file, answer);
        build.server_error()
    };
    let half = answered(GemResponse::Truncated(greeting()));
    assert!(matches!(half, GemServerError::Truncated(_)), "{half:?}");
    let loops = answered(GemResponse::Redirect(file.to_owned()));
    assert!(matches!(loops, GemServerError::Redirects(_)), "{loops:?}");
    let noise = answered(GemResponse::NotHttp);
    assert!(
        matches!(noise, GemServerError::Protocol { .. }),
        "{noise:?}"
    );
    for (status, is_forbidden) in [(401, true), (403, true), (500, false), (429, false)] {
        let error = answered(GemResponse::Status(status));
        assert_eq!(
            matches!(error, GemServerError::Forbidden { .. }),
            is_forbidden
        );
        assert!(error.to_string().contains(&status.to_string()), "{error}");
    }
    let away = answered(GemResponse::Redirect("ftp://127.0.0.1/x".to_owned()));
    assert!(matches!(away, GemServerError::Protocol { .. }), "{away:?}");
}

#[test]
fn a_redirect_is_followed() {
    let (server, mut build) = published();
    server.set("/stored", GemResponse::Bytes(greeting()));
    server.set(
        "/gems/greeting-1.0.gem",
        GemResponse::Redirect("/stored".to_owned()),
    );
    build.install().unwrap();
}

#[test]
fn redirect_to_a_server_that_is_not_allowed_is_refused() {
    let (server, mut build) = published();
    let internal = GemServer::start();
    internal.set("/stored", GemResponse::Bytes(greeting()));
    let port = internal.url().rsplit(':').next().unwrap().to_owned();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "2130706433",
        "0x7f.1",
        "127.0.0.1.",
    ] {
        let location = format!("http://{host}:{port}stored");
        for path in ["/info/greeting", "/gems/greeting-1.0.gem"] {
            let (server, mut build) = published();
            server.set(path, GemResponse::Redirect(location.clone()));
            let error = build.server_error();
            assert!(
                matches!(error, GemServerError::Redirected { .. }),
                "{error:?}"
            );
        }
    }
    // The second hop is checked like the first.
    let first = GemResponse::Redirect("/moved".to_owned());
    let second = GemResponse::Redirect(format!("{}stored", internal.url()));
    server.set("/gems/greeting-1.0.gem", first);
    server.set("/moved", second);
    let error = build.server_error().to_string();
    assert!(error.contains("--gem-source http://127.0.0.1:"), "{error}");
    assert!(!error.contains("stored"), "{error}");
    assert_eq!(internal.requested(), Vec::<String>::new());

    build.sources.push(internal.url());
    build.install().unwrap();
    assert_eq!(internal.requested(), ["/stored"]);
}

#[test]
fn name_of_an_allowed_server_leads_to_the_node_as_localhost_only() {
    let (server, _) = published();
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    let local = format!("http://localhost:{port}");
    let mut build = GemBuild::of(&[&local], "");
    build.install().unwrap();
    // The system resolves these names to 127.0.0.1.
    for name in ["2130706433", "127.1", "0"] {
        server.requested();
        let mut build = GemBuild::of(&[&format!("http://{name}:{port}")], "");
        let error = build.server_error();
        assert!(matches!(error, GemServerError::Address(_)), "{error:?}");
        assert_eq!(server.requested(), Vec::<String>::new());
    }
}

#[test]
fn responses_are_limited_in_size_and_time() {
    let (server, mut build) = published();
    build.limits.index = 1000;
    server.set("/info/greeting", GemResponse::Endless);
    let endless = build.server_error();
    assert!(
        matches!(endless, GemServerError::TooLarge { .. }),
        "{endless:?}"
    );
    server.set("/info/greeting", GemResponse::Bytes(vec![b' '; 1001]));
    assert!(matches!(
        build.server_error(),
        GemServerError::TooLarge { .. }
    ));
    server.set("/info/greeting", GemResponse::Silence);
    build.limits.request = Duration::from_millis(200);
    let never = build.server_error();
    assert!(matches!(never, GemServerError::Slow { .. }), "{never:?}");
    build.limits.total = Duration::ZERO;
    assert!(matches!(build.refusal(), FetchError::TooLong(..)));
}

#[test]
fn the_total_size_of_gems_is_limited() {
    let (_server, mut build) = published();
    build.limits.all = 100;
    assert!(matches!(build.refusal(), FetchError::TooMuch(_)));
}

#[test]
fn the_gem_of_the_pack_replaces_one_of_an_unreachable_server() {
    let (server, mut build) = published();
    server.stop();
    let error = build.server_error();
    assert!(
        matches!(error, GemServerError::Unreachable { .. }),
        "{error:?}"
    );
    build
        .carried
        .insert("greeting".to_owned(), "0.9".to_owned());
    let said = build.source();
    assert!(
        said.starts_with("Using greeting 0.9 of the Ruby pack") && said.contains("1.0"),
        "{said}"
    );
    // If the server is reachable, the version of the lockfile is installed.
    let (server, mut build) = published();
    build
        .carried
        .insert("greeting".to_owned(), "0.9".to_owned());
    assert!(build.source().ends_with(&server.url()));
    build.lock(&[&server.url()], "");
    build
        .carried
        .insert("greeting".to_owned(), "1.0".to_owned());
    assert_eq!(build.source(), "Using greeting of the Ruby pack");
}

#[test]
fn vendored_gems_precede_gem_directories_and_these_precede_servers() {
    let (server, mut build) = published();
    let own = build.directory.path().join("own");
    std::fs::create_dir_all(own.join("specifications")).unwrap();
    std::fs::create_dir_all(own.join("gems/greeting-1.0/lib")).unwrap();
    std::fs::write(own.join("specifications/greeting-1.0.gemspec"), "").unwrap();
    std::fs::write(own.join("gems/greeting-1.0/lib/greeting.rb"), "").unwrap();
    build.gems = vec![own.clone()];
    build.add("vendor/cache/greeting-1.0.gem", &greeting());
    assert!(build.source().ends_with("from vendor/cache"));
    build.lock(&[&server.url()], "");
    assert!(build.source().ends_with(&own.display().to_string()));
    build.lock(&[&server.url()], "");
    build.gems.clear();
    assert_eq!(server.requested(), [""; 0]);
    assert!(build.source().ends_with(&server.url()));
}

#[test]
fn a_gem_that_differs_between_two_servers_is_ambiguous() {
    let (server, mut build) = published();
    let second = GemServer::start();
    let both = [server.url(), second.url()];
    build.sources = both.to_vec();
    let both = both.each_ref().map(String::as_str);
    for remotes in [both, [both[1], both[0]]] {
        build.lock(&remotes, "");
        build.install().unwrap();
    }
    second.publish("greeting", "1.0", &gem("greeting", "1.0", &[], ""));
    build.lock(&both, "");
    assert!(matches!(build.refusal(), FetchError::Ambiguous { .. }));
}

#[test]
fn gems_with_native_extensions_or_for_another_ruby_are_refused() {
    let server = GemServer::start();
    let native = gem(
        "greeting",
        "1.0",
        GREETING,
        "extensions:\n- ext/extconf.rb\n",
    );
    server.publish("greeting", "1.0", &native);
    let mut build = GemBuild::of(&[&server.url()], "");
    let error = build.install().unwrap_err();
    assert_eq!(
        error.to_string(),
        "gem greeting: has a native extension, which a dyno cannot load; Ruby 3.3 and 3.4 compile and load it when they are built from source: ask for one of them in the Gemfile, or for none\n    greeting ← Gemfile line 3"
    );
    let server = GemServer::start();
    let ruby = "required_ruby_version: !ruby/object:Gem::Requirement\n  requirements:\n  - - \">=\"\n    - !ruby/object:Gem::Version\n      version: '4'\n";
    server.publish("greeting", "1.0", &gem("greeting", "1.0", GREETING, ruby));
    let mut build = GemBuild::of(&[&server.url()], "");
    let error = build.install().unwrap_err().to_string();
    assert!(
        error.contains("needs Ruby >= 4, and the app runs on 3.4.1"),
        "{error}"
    );
}

#[test]
fn native_extensions_are_left_to_be_built_by_a_pack_that_loads_them() {
    let server = GemServer::start();
    let extension = "extensions:\n- ext/extconf.rb\n";
    server.publish(
        "greeting",
        "1.0",
        &gem("greeting", "1.0", GREETING, extension),
    );
    let mut build = GemBuild::of(&[&server.url()], "");
    build.builds_extensions = true;
    let first = build.install().unwrap().extensions;
    let [found] = &first[..] else {
        panic!("{first:?}");
    };
    assert_eq!(found.full_name, "greeting-1.0");
    assert_eq!(
        found.directory,
        "vendor/bundle/ruby/3.4.0/gems/greeting-1.0"
    );
    assert_eq!(found.scripts, ["ext/extconf.rb"]);
    // The digest is that of the gem's files, by which a result is found again.
    let other = [("lib/greeting.rb", "GREETING = 'other'\n")];
    let server = GemServer::start();
    server.publish(
        "greeting",
        "1.0",
        &gem("greeting", "1.0", &other, extension),
    );
    let mut build = GemBuild::of(&[&server.url()], "");
    build.builds_extensions = true;
    assert_ne!(build.install().unwrap().extensions[0].digest, found.digest);
}

/// A native gem that needs another gem to be built.
fn native_greeting(ruby: &str) -> Vec<u8> {
    let metadata = format!(
        "dependencies:\n- !ruby/object:Gem::Dependency\n  name: mini_build\n  requirement: !ruby/object:Gem::Requirement\n    requirements:\n    - - \"~>\"\n      - !ruby/object:Gem::Version\n        version: '2.8'\n  type: :runtime\nextensions:\n- ext/extconf.rb\n{ruby}"
    );
    gem("greeting", "1.0", GREETING, &metadata)
}

/// Locks precompiled builds of `greeting` alone.
fn lock_variants(build: &mut GemBuild, remote: &str) {
    let text = format!(
        "GEM\n  remote: {remote}\n  specs:\n    greeting (1.0-aarch64-linux-gnu)\n    greeting (1.0-arm64-darwin)\n    greeting (1.0-x86_64-linux-musl)\n\nPLATFORMS\n  aarch64-linux-gnu\n  arm64-darwin\n  x86_64-linux-musl\n\nDEPENDENCIES\n  greeting\n\nCHECKSUMS\n  greeting (1.0-x86_64-linux-musl) sha256={}\n",
        "1".repeat(64)
    );
    build.tree = empty();
    build.add("Gemfile.lock", text.as_bytes());
}

#[test]
fn precompiled_builds_of_the_lockfile_resolve_to_the_source_of_the_version() {
    let server = GemServer::start();
    for platform in ["aarch64-linux-gnu", "arm64-darwin", "x86_64-linux-musl"] {
        let line = format!("1.0-{platform} |checksum:{}\n", "2".repeat(64));
        server.add_to_index("greeting", &line);
    }
    let mut build = GemBuild::of(&[&server.url()], "");
    build.builds_extensions = true;
    lock_variants(&mut build, &server.url());
    let error = build.refusal().to_string();
    for words in [
        "gem greeting 1.0",
        "only precompiled builds (aarch64-linux-gnu, arm64-darwin, x86_64-linux-musl)",
        "no source (platform ruby)",
    ] {
        assert!(error.contains(words), "{error}");
    }
    server.publish("greeting", "1.0", &native_greeting(""));
    lock_variants(&mut build, &server.url());
    let installed = build.install().unwrap();
    assert_eq!(installed.extensions[0].lacks[0].name, "mini_build");
    let metadata = &installed.metadata["greeting-1.0"];
    assert!(metadata.contains("dependencies: []\n"), "{metadata}");
    // The newest version that fits is there while extensions are built.
    for version in ["2.9", "3.0", "2.10", "2.11.pre"] {
        let build = gem("mini_build", version, &[("lib/mini_build.rb", "")], "");
        server.publish("mini_build", version, &build);
    }
    lock_variants(&mut build, &server.url());
    let installed = build.install().unwrap();
    assert!(installed.extensions[0].lacks.is_empty());
    assert!(installed.metadata.contains_key("mini_build-2.10"));
    let file = "vendor/bundle/ruby/3.4.0/gems/mini_build-2.10/lib/mini_build.rb";
    assert!(build.tree.has_file(file), "{:?}", build.said);
    assert!(
        build
            .said
            .iter()
            .any(|line| line.starts_with("Using mini_build 2.10 from ")
                && line.ends_with("to compile extensions"))
    );
    // The installer verifies the checksum of the index.
    let other = gem("greeting", "1.0", &[], "");
    server.set("/gems/greeting-1.0.gem", GemResponse::Bytes(other));
    std::fs::remove_dir_all(build.cache()).unwrap();
    lock_variants(&mut build, &server.url());
    assert!(matches!(build.refusal(), FetchError::Checksum(_)));
    // A lockfile with the plain form has all gems that it needs.
    server.publish("greeting", "1.0", &native_greeting(""));
    let mut build = GemBuild::of(&[&server.url()], "");
    build.builds_extensions = true;
    let installed = build.install().unwrap();
    assert!(installed.extensions[0].lacks.is_empty());
    assert!(installed.metadata["greeting-1.0"].contains("mini_build"));
    build.sources.clear();
    lock_variants(&mut build, &server.url());
    let error = build.refusal().to_string();
    assert!(
        error.contains("greeting-1.0.gem into vendor/cache (gem fetch --platform ruby does so)"),
        "{error}"
    );
}

#[test]
fn locked_version_replaces_the_one_that_is_linked_into_the_pack() {
    let server = GemServer::start();
    let of_pack = |reason: &str| {
        vec![format!(
            "Using greeting 0.9 of the Ruby pack ({reason}Gemfile.lock has 1.0)"
        )]
    };
    let build = |version: &str| {
        let mut build = GemBuild::of(&[&server.url()], "");
        build
            .carried
            .insert("greeting".to_owned(), version.to_owned());
        build.linked.push("greeting".to_owned());
        build
    };
    // A pack that compiles nothing has its own version alone.
    let mut unable = build("0.9");
    assert!(unable.install().unwrap().extensions.is_empty());
    assert_eq!(unable.said, of_pack(""));
    let mut able = build("0.9");
    able.builds_extensions = true;
    able.install().unwrap();
    assert_eq!(
        able.said,
        of_pack("its server has no source of the locked version, and ")
    );
    server.publish("greeting", "1.0", &native_greeting(""));
    able.lock(&[&server.url()], "");
    let extensions = able.install().unwrap().extensions;
    let replacement = extensions[0].replacement.as_ref().unwrap();
    assert_eq!(
        (replacement.version.as_str(), replacement.locked.as_str()),
        ("0.9", "1.0")
    );
    let line = gems::use_pack_gem(&mut able.tree, "3.4", replacement, "it rains").unwrap();
    assert_eq!([line], *of_pack("it rains, and "));
    let folder = "vendor/bundle/ruby/3.4.0/gems/greeting-1.0";
    let entries: Vec<&str> = able.tree.entries().map(|(path, _)| path).collect();
    assert!(entries.contains(&folder) && !entries.contains(&&*format!("{folder}/lib/greeting.rb")));
    // The same version needs no compiler.
    let mut same = build("1.0");
    same.builds_extensions = true;
    assert_eq!(same.source(), "Using greeting of the Ruby pack");
    let ruby = "required_ruby_version: !ruby/object:Gem::Requirement\n  requirements:\n  - - \">=\"\n    - !ruby/object:Gem::Version\n      version: '4'\n";
    server.publish("greeting", "1.0", &native_greeting(ruby));
    let newer = GemServer::start();
    newer.publish("greeting", "1.0", &native_greeting(ruby));
    able.sources = vec![newer.url()];
    able.lock(&[&newer.url()], "");
    assert!(able.install().unwrap().extensions.is_empty());
    assert_eq!(
        able.said,
        of_pack("the locked version needs Ruby >= 4, and ")
    );
    newer.stop();
    std::fs::remove_dir_all(able.cache()).unwrap();
    able.lock(&[&newer.url()], "");
    able.install().unwrap();
    assert_eq!(able.said, of_pack("its server cannot be reached, and "));
}

#[test]
fn a_file_with_another_gem_is_refused() {
    let server = GemServer::start();
    server.publish("greeting", "1.0", &gem("other", "1.0", GREETING, ""));
    let mut build = GemBuild::of(&[&server.url()], "");
    let error = build.install().unwrap_err();
    assert!(error.to_string().contains("it holds other 1.0"), "{error}");
}

/// A bare repository that a gem server offers as files.
struct ServedRepository {
    directory: tempfile::TempDir,
    server: GemServer,
}

impl ServedRepository {
    /// Commits `files` and serves the repository at `/shop.git`.
    fn of(files: &[(&str, &str)]) -> Self {
        let repository = Self {
            directory: tempfile::tempdir().unwrap(),
            server: GemServer::start(),
        };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.commit(files);
        repository
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = std::process::Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.com"])
            .args(arguments)
            .current_dir(self.directory.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Commits more files, and returns the digest of the commit.
    fn commit(&self, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            let path = self.directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message=more"]);
        self.publish();
        self.git(&["rev-parse", "HEAD"])
    }

    /// Serves all files of the repository.
    fn publish(&self) {
        self.git(&["update-server-info"]);
        let root = self.directory.path().join(".git");
        let mut open = vec![root.clone()];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                    continue;
                }
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                let bytes = GemResponse::Bytes(std::fs::read(&path).unwrap());
                if name == "info/refs" {
                    let path = "/shop.git/info/refs?service=git-upload-pack";
                    self.server.set(path, bytes.clone());
                }
                self.server.set(&format!("/shop.git/{name}"), bytes);
            }
        }
    }

    fn url(&self) -> String {
        format!("{}shop.git", self.server.url())
    }

    /// Makes a build whose lockfile names the repository.
    fn build(&self, remote: &str, revision: &str, more: &str) -> GemBuild {
        let mut build = GemBuild::of(&[&self.server.url()], "");
        build.tree = empty();
        let lockfile = format!(
            "GIT\n  remote: {remote}\n  revision: {revision}\n{more}  specs:\n    greeting (1.0)\n\nDEPENDENCIES\n  greeting!\n"
        );
        build.add("Gemfile.lock", lockfile.as_bytes());
        build
    }
}

const GEMSPEC: (&str, &str) = ("gems/greeting/greeting.gemspec", "Gem::Specification.new\n");

#[test]
fn gem_of_a_repository_is_installed_at_the_locked_revision() {
    let repository =
        ServedRepository::of(&[GEMSPEC, ("gems/greeting/lib/greeting.rb", "GREETING = 1\n")]);
    let revision = repository.git(&["rev-parse", "HEAD"]);
    repository.commit(&[("gems/greeting/lib/greeting.rb", "GREETING = 2\n")]);
    let url = repository.url();
    let mut build = repository.build(&url, &revision, "  branch: main\n");
    let said = build.source();
    let short = &revision[..7];
    assert_eq!(
        said,
        format!("Installing greeting 1.0 from {url} (at {short})")
    );
    let root = format!(
        "vendor/bundle/ruby/3.4.0/bundler/gems/shop-{}",
        &revision[..12]
    );
    let file = build
        .tree
        .text(&format!("{root}/gems/greeting/lib/greeting.rb"));
    assert_eq!(file.unwrap().unwrap(), "GREETING = 1\n");
}

#[test]
fn repository_that_is_not_allowed_or_lacks_the_revision_is_refused() {
    let repository = ServedRepository::of(&[GEMSPEC, ("x", "1")]);
    let revision = repository.git(&["rev-parse", "HEAD"]);
    let url = repository.url();
    let refusal = |build: &mut GemBuild| build.install().unwrap_err().to_string();

    let mut build = repository.build(&url, &revision, "");
    build.sources.clear();
    let error = refusal(&mut build);
    assert!(error.contains("--gem-source http://127.0.0.1:"), "{error}");
    assert_eq!(repository.server.requested(), [""; 0]);

    let mut build = repository.build(&url, &"0".repeat(40), "");
    let error = refusal(&mut build);
    assert!(
        error.contains("no branch and no tag contains it"),
        "{error}"
    );

    for remote in [
        "git@github.com:a/b.git",
        "ssh://git@github.com/a/b.git",
        "file:///etc",
        "/etc/passwd",
        "ext::sh -c id",
        "https://me:secret@example.com/x.git",
        "--upload-pack=id",
    ] {
        let error = refusal(&mut repository.build(remote, &revision, ""));
        assert!(error.contains("name it by an https:// URL"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    repository.server.set(
        "/shop.git/info/refs?service=git-upload-pack",
        GemResponse::Redirect("http://127.0.0.1:1/x.git/info/refs".to_owned()),
    );
    let error = refusal(&mut repository.build(&url, &revision, ""));
    assert!(error.contains("cannot be fetched at revision"), "{error}");
}

#[test]
fn gem_of_a_repository_without_gemspec_or_with_an_extension_is_refused() {
    let text = "Gem::Specification.new do |s|\n  s.extensions = %w[ext/extconf.rb]\nend\n";
    let repository = ServedRepository::of(&[("other.gemspec", text)]);
    let revision = repository.git(&["rev-parse", "HEAD"]);
    let error = repository.build(&repository.url(), &revision, "").install();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("has no greeting.gemspec"), "{error}");
    let revision = repository.commit(&[("greeting.gemspec", text)]);
    let error = repository.build(&repository.url(), &revision, "").install();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("has a native extension"), "{error}");
    // A pack that loads extensions builds those at the usual place.
    let mut build = repository.build(&repository.url(), &revision, "");
    build.builds_extensions = true;
    let error = build.install().unwrap_err().to_string();
    assert!(error.contains("its repository has no ext/"), "{error}");
    let revision = repository.commit(&[("ext/greeting/extconf.rb", "require 'mkmf'\n")]);
    let mut build = repository.build(&repository.url(), &revision, "");
    build.builds_extensions = true;
    let extensions = build.install().unwrap().extensions;
    let directory = format!(
        "vendor/bundle/ruby/3.4.0/bundler/gems/shop-{}",
        &revision[..12]
    );
    assert_eq!(extensions[0].directory, directory);
    assert_eq!(extensions[0].scripts, ["ext/greeting/extconf.rb"]);
}

#[test]
fn submodules_are_fetched_if_the_lockfile_says_so() {
    let inner = ServedRepository::of(&[("lib/inner.rb", "INNER = 1\n")]);
    let revision = inner.git(&["rev-parse", "HEAD"]);
    let modules = format!(
        "[submodule \"a\"]\n\tpath = vendor/a\n\turl = {}\n",
        inner.url()
    );
    let outer = ServedRepository::of(&[("greeting.gemspec", ""), (".gitmodules", &modules)]);
    let link = format!("160000,{revision},vendor/a");
    outer.git(&["update-index", "--add", "--cacheinfo", &link]);
    outer.git(&["commit", "--quiet", "--message=link"]);
    outer.publish();
    let revision = outer.git(&["rev-parse", "HEAD"]);
    let root = format!(
        "vendor/bundle/ruby/3.4.0/bundler/gems/shop-{}",
        &revision[..12]
    );
    let file = format!("{root}/vendor/a/lib/inner.rb");
    let mut build = outer.build(&outer.url(), &revision, "");
    build.install().unwrap();
    assert!(!build.tree.has_file(&file));
    let mut build = outer.build(&outer.url(), &revision, "  submodules: true\n");
    let error = build.install().unwrap_err().to_string();
    assert!(error.contains("this node does not fetch from"), "{error}");
    let mut build = outer.build(&outer.url(), &revision, "  submodules: true\n");
    build.sources.push(inner.server.url());
    build.install().unwrap();
    assert!(build.tree.has_file(&file));
}

//! RubyGems and Bundler as the code of an app sees them.

use corundum_test_support::gem_package::gem;
use corundum_test_support::gem_server::GemServer;
use corundum_test_support::node::{Repository, TestNode};

/// An app, a node, and the gem server that the app's lockfile names.
struct Bundle {
    node: TestNode,
    server: GemServer,
    app: Repository,
}

impl Bundle {
    fn new() -> Self {
        let server = GemServer::start();
        let node = TestNode::start_with(&["--gem-source", &server.url()]);
        let app = node.create("myapp");
        Self { node, server, app }
    }

    /// Publishes a gem with one file. `metadata` is added to its specification.
    fn publish(&self, name: &str, version: &str, path: &str, text: &str, metadata: &str) {
        let gem = gem(name, version, &[(path, text)], metadata);
        self.server.publish(name, version, &gem);
    }

    /// Writes the Gemfile, below a line that names the server, and a lockfile with `specs` and `dependencies`.
    fn write(&self, gemfile: &str, specs: &[&str], dependencies: &[&str]) {
        let url = self.server.url();
        self.app
            .write("Gemfile", &format!("source '{url}'\n{gemfile}"));
        let specs: String = specs.iter().map(|line| format!("    {line}\n")).collect();
        let names: String = dependencies
            .iter()
            .map(|name| format!("  {name}\n"))
            .collect();
        self.app.write(
            "Gemfile.lock",
            &format!(
                "GEM\n  remote: {url}\n  specs:\n{specs}\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n{names}\nBUNDLED WITH\n   2.6.7\n"
            ),
        );
    }

    /// Pushes an app that evaluates the expressions, and compares the values with the expected ones.
    fn assert_values(&self, values: &[(&str, &str)]) {
        let list: String = values
            .iter()
            .map(|(expression, _)| format!("  ({expression}).inspect,\n"))
            .collect();
        let app =
            format!("VALUES = [\n{list}]\nrun ->(_) {{ [200, {{}}, [VALUES.join(\"\\n\")]] }}\n");
        self.app.deploy(&app);
        let (status, body) = self.node.get("myapp", "/");
        assert_eq!(status, 200, "{body}");
        let lines: Vec<&str> = body.lines().collect();
        for (index, (expression, value)) in values.iter().enumerate() {
            assert_eq!(lines[index], *value, "{expression}");
        }
    }
}

const HELLO: &str = "module Hello\n  TEXT = 'hello'\nend\n";

#[test]
fn app_sees_its_bundle_as_with_bundle_exec() {
    let bundle = Bundle::new();
    let metadata = "executables:\n- hello\nbindir: exe\nlicenses:\n- MIT\n";
    bundle.publish("hello", "1.2", "lib/hello.rb", HELLO, metadata);
    bundle.publish("quiet-one", "0.1", "lib/quiet/one.rb", "QUIET = 1\n", "");
    bundle.publish("named", "2.0", "lib/other.rb", "NAMED = 1\n", "");
    bundle.publish("late", "3.0", "lib/late.rb", "LATE = 1\n", "");
    bundle.write(
        "gem 'hello', '~> 1.0'\ngem 'quiet-one'\ngem 'named', require: 'other'\ngem 'late', require: false\n\
         gem 'tool', group: :development\ngem 'ms', platforms: :windows\ninstall_if(-> { false }) { gem 'never' }\n",
        &["hello (1.2)", "late (3.0)", "named (2.0)", "never (1.0)", "quiet-one (0.1)", "tool (1.0)"],
        &["hello (~> 1.0)", "late", "ms", "named", "never", "quiet-one", "tool"],
    );
    bundle.assert_values(&[
        (
            "Bundler.require; [Hello::TEXT, QUIET, NAMED, defined?(LATE)]",
            "[\"hello\", 1, 1, nil]",
        ),
        ("require 'late'; LATE", "1"),
        (
            "Gem.loaded_specs.keys - %w[did_you_mean error_highlight pathname syntax_suggest]",
            "[\"bundler\", \"hello\", \"late\", \"named\", \"quiet-one\"]",
        ),
        (
            "begin; gem 'no-such-gem', '~> 9'; rescue LoadError => e; e.class; end",
            "Gem::LoadError",
        ),
        (
            "begin; gem 'hello', '~> 9'; rescue LoadError => e; e.class; end",
            "Gem::LoadError",
        ),
        ("gem 'hello', '~> 1.0'", "true"),
        (
            "begin; require 'tool'; rescue LoadError => e; e.path; end",
            "\"tool\"",
        ),
        (
            "s = Gem::Specification.find_by_name('hello'); [s.version.to_s, s.gem_dir, s.executables, s.licenses]",
            "[\"1.2\", \"/app/vendor/bundle/ruby/3.3.0/gems/hello-1.2\", [\"hello\"], [\"MIT\"]]",
        ),
        (
            "begin; Gem::Specification.find_by_name('none'); rescue LoadError => e; e.class; end",
            "Gem::MissingSpecError",
        ),
        (
            "File.exist?(Gem.loaded_specs['hello'].full_gem_path + '/lib/hello.rb')",
            "true",
        ),
        (
            "[Bundler.root.to_s, Bundler.default_gemfile.to_s, Bundler.bundle_path.to_s]",
            "[\"/app\", \"/app/Gemfile\", \"/app/vendor/bundle/ruby/3.3.0\"]",
        ),
        (
            "Bundler.definition.dependencies.map(&:name)",
            "[\"hello\", \"quiet-one\", \"named\", \"late\", \"tool\", \"ms\", \"never\"]",
        ),
        (
            "Bundler.load.specs.map(&:name).sort",
            "[\"bundler\", \"hello\", \"late\", \"named\", \"quiet-one\"]",
        ),
        (
            "Bundler.locked_gems.specs.map(&:name)",
            "[\"hello\", \"late\", \"named\", \"never\", \"quiet-one\", \"tool\"]",
        ),
        ("Bundler.settings[:without]", "[:development, :test]"),
        (
            "Bundler.with_unbundled_env { ENV['BUNDLE_GEMFILE'] }",
            "nil",
        ),
        ("ENV['BUNDLE_GEMFILE']", "\"/app/Gemfile\""),
        ("Gem.path.include?('/app/vendor/bundle/ruby/3.3.0')", "true"),
        (
            "[Gem.win_platform?, Gem::Version.new('1.10') > Gem::Version.new('1.9'), Gem::Requirement.new('~> 1.2').satisfied_by?(Gem::Version.new('1.9'))]",
            "[false, true, true]",
        ),
        (
            "require 'bundler/inline'; begin; gemfile(true) { source 'https://example.com'; gem 'nope' }; rescue Bundler::GemNotFound, Bundler::HTTPError => e; e.message; end",
            "\"a dyno installs no gems: name them in the app's Gemfile, run `bundle lock`, and push\"",
        ),
    ]);
}

#[test]
fn bundled_gem_loads_in_the_version_of_the_lockfile_or_of_the_pack() {
    let bundle = Bundle::new();
    // The pack's version of a bundled gem, another one of the server, one that no server has, and a default gem whose
    // extension the pack has.
    let csv = "class CSV\n  VERSION = '9.0'\nend\n";
    bundle.publish("csv", "9.0", "lib/csv.rb", csv, "");
    bundle.write(
        "gem 'rexml'\ngem 'csv'\ngem 'bigdecimal'\ngem 'rake', require: false\n",
        &[
            "bigdecimal (3.1.9)",
            "csv (9.0)",
            "rake (13.1.0)",
            "rexml (3.3.9)",
        ],
        &["bigdecimal", "csv", "rake", "rexml"],
    );
    bundle.assert_values(&[
        ("require 'rexml/document'; REXML::VERSION", "\"3.3.9\""),
        ("require 'csv'; CSV::VERSION", "\"9.0\""),
        ("require 'bigdecimal/util'; '1.5'.to_d.to_s('F')", "\"1.5\""),
        ("Gem.loaded_specs['bigdecimal'].version.to_s", "\"3.1.9\""),
        ("require 'rake'; Rake::VERSION", "\"13.1.0\""),
        (
            "begin; require 'prime'; rescue LoadError => e; e.path; end",
            "\"prime\"",
        ),
    ]);
}

#[test]
fn gemfile_reads_files_of_the_app_as_on_a_server() {
    let bundle = Bundle::new();
    bundle.publish("hello", "1.2", "lib/hello.rb", HELLO, "");
    let version = "module Shop\n  VERSION = '0.3'\nend\n";
    bundle
        .app
        .write("engines/shop/lib/shop/version.rb", version);
    bundle
        .app
        .write("engines/shop/lib/shop.rb", "require 'shop/version'\n");
    bundle.app.write(
        "engines/shop/shop.gemspec",
        "require_relative 'lib/shop/version'\n\
         Gem::Specification.new do |s|\n  s.name = 'shop'\n  s.version = Shop::VERSION\n  s.summary = 's'\n  s.authors = ['a']\n  \
         s.files = `git ls-files -z`.split(\"\\x0\")\n  s.add_dependency 'hello', '~> 1.0'\nend\n",
    );
    bundle.app.write("Gemfile.common", "gem 'hello'\n");
    bundle.app.write(".ruby-version", "3.3.1\n");
    let url = bundle.server.url();
    bundle.app.write(
        "Gemfile",
        &format!(
            "source '{url}'\nruby File.read('.ruby-version').strip\neval_gemfile 'Gemfile.common'\npath('engines') {{ gem 'shop' }}\n"
        ),
    );
    bundle.app.write(
        "Gemfile.lock",
        &format!(
            "PATH\n  remote: engines\n  specs:\n    shop (0.3)\n      hello (~> 1.0)\n\nGEM\n  remote: {url}\n  specs:\n    hello (1.2-x86_64-linux)\n\n\
             PLATFORMS\n  x86_64-linux\n\nDEPENDENCIES\n  hello\n  shop!\n\nRUBY VERSION\n   ruby 3.3.1p55\n\nBUNDLED WITH\n   2.6.7\n"
        ),
    );
    bundle.assert_values(&[
        (
            "Bundler.require; [Shop::VERSION, Hello::TEXT]",
            "[\"0.3\", \"hello\"]",
        ),
        (
            "Gem.loaded_specs['shop'].full_gem_path",
            "\"/app/engines/shop\"",
        ),
        (
            "Gem.loaded_specs['shop'].files.sort",
            "[\"lib/shop.rb\", \"lib/shop/version.rb\", \"shop.gemspec\"]",
        ),
        ("Gem.loaded_specs['hello'].platform", "\"ruby\""),
    ]);
}

#[test]
fn gems_that_make_no_sense_in_a_dyno_load_as_stand_ins() {
    let bundle = Bundle::new();
    let webrick = "module WEBrick\n  VERSION = '1.9.1'\nend\n";
    bundle.publish("webrick", "1.9.1", "lib/webrick.rb", webrick, "");
    bundle.write(
        "gem 'puma', '>= 5.0'\ngem 'bootsnap', require: false\ngem 'webrick'\ngem 'listen'\n",
        &[
            "bootsnap (1.18.4)",
            "  msgpack (~> 1.2)",
            "ffi (1.16.3)",
            "listen (3.9.0)",
            "  rb-inotify (~> 0.9)",
            "msgpack (1.7.2)",
            "nio4r (2.7.3)",
            "puma (6.4.2)",
            "  nio4r (~> 2.0)",
            "rb-inotify (0.11.1)",
            "  ffi (~> 1.0)",
            "webrick (1.9.1)",
        ],
        &["bootsnap", "listen", "puma (>= 5.0)", "webrick"],
    );
    let values = [
        (
            "require 'bootsnap/setup'; Bootsnap.setup(cache_dir: 'tmp')",
            "nil",
        ),
        (
            "Bundler.require; [Puma::Const::VERSION, WEBrick::VERSION, Listen.to('lib') { }.start]",
            "[\"6.4.2\", \"1.9.1\", nil]",
        ),
        (
            "begin; require 'msgpack'; rescue LoadError => e; e.path; end",
            "\"msgpack\"",
        ),
    ];
    bundle.assert_values(&values);
    bundle.app.write("more", "1");
    let push = bundle.app.push("main");
    for line in [
        "Using a stand-in for puma 6.4.2: a dyno does not need it",
        "Installing webrick 1.9.1 from ",
    ] {
        assert!(push.text.contains(line), "{}", push.text);
    }
}

#[test]
fn push_names_all_refused_gems_with_the_way_to_each() {
    let bundle = Bundle::new();
    bundle.publish("sassc", "2.4", "lib/sassc.rb", "", "");
    bundle.publish("sassc-rails", "2.1", "lib/sassc-rails.rb", "", "");
    bundle.publish(
        "mini_racer",
        "1.0",
        "lib/mini_racer.rb",
        "",
        "extensions:\n- ext/extconf.rb\n",
    );
    bundle.write(
        "\n\ngem 'sassc-rails'\ngem 'mini_racer'\ngem 'gone'\n",
        &[
            "mini_racer (1.0)",
            "ffi (1.16.3)",
            "gone (1.0)",
            "sassc (2.4)",
            "  ffi (~> 1.9)",
            "sassc-rails (2.1)",
            "  sassc (>= 2.0)",
        ],
        &["mini_racer", "gone", "sassc-rails"],
    );
    bundle
        .app
        .write("config.ru", "run ->(_) { [200, {}, []] }\n");
    let push = bundle.app.push("main");
    assert!(!push.success);
    for words in [
        "gem ffi: has a native extension",
        "ffi ← sassc ← sassc-rails ← Gemfile line 4",
        "gem mini_racer: has a native extension",
        "mini_racer ← Gemfile line 5",
        "gem gone: unknown at",
        "gone ← Gemfile line 6",
    ] {
        assert!(
            push.text.contains(words),
            "{words:?} is missing in:\n{}",
            push.text
        );
    }
}

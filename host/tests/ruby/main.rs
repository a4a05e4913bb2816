//! Tests with real Ruby in real dynos: they prepare packs, boot apps and send requests through the grid.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod background;
mod connections;
mod extensions;
mod fairness;
mod fibers;
mod files;
mod harness;
mod run;
mod servers;
mod shortage;
mod sockets;
mod system;
mod threads;

/// Runs the Rack tests on each of these packs. The prelude must behave the same way on all of them.
macro_rules! on_packs {
    ($($module:ident: $edition:expr),*) => {
        $(mod $module {
            use corundum_pack::ruby::{Edition, Series};

            use crate::harness::{Options, TestApp, chunked, request};

            fn edition() -> Edition {
                let edition: fn() -> Edition = $edition;
                edition()
            }

            async fn boot(source: &str) -> TestApp {
                let options = Options {
                    edition: edition(),
                    ..Options::default()
                };
                TestApp::boot_with(source, options).await
            }

            include!("rack.rs");
        })*
    };
}

on_packs! {
    rack_on_ruby_33: || Series::Ruby33.best(),
    rack_on_ruby_34: || Series::Ruby34.best(),
    rack_on_npm: || Series::Ruby34.quickest()
}

use std::time::Duration;

use corundum_host::boot::WarmUp;
use corundum_host::grid::{DispatchError, GridLimits, Isolation};
use corundum_pack::ruby::{Edition, Series};
use harness::{Options, TestApp, request};

#[tokio::test(flavor = "multi_thread")]
async fn bare_rack_app_responds() {
    let app =
        TestApp::boot("run ->(env) { [200, {'x-a' => '1'}, ['hi ', env['PATH_INFO']]] }").await;
    let (status, body) = app.get("/there").await.unwrap();
    assert_eq!((status, body.as_str()), (200, "hi /there"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ruby_edition_boots_and_serves_an_app() {
    let source = "
        require 'json'
        require 'openssl'
        run ->(e) { [200, {}, [RUBY_VERSION, ' ', e['rack.input'].read, OpenSSL::Digest.hexdigest('SHA256', '')[0, 4]]] }";
    for edition in Edition::ALL {
        let options = Options {
            edition,
            ..Options::default()
        };
        let app = TestApp::boot_with(source, options).await;
        let (status, body) = app.send(request("POST", "/", "body")).await.unwrap();
        assert_eq!(status, 200, "{edition}: {:?}", app.log_lines());
        assert!(
            body.starts_with(edition.series.as_str()),
            "{edition}: {body}"
        );
        assert!(body.ends_with(" bodye3b0"), "{edition}: {body}");
        assert_eq!(app.get("/").await.unwrap().0, 200, "{edition}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn app_sees_its_environment_and_dyno_name() {
    let app =
        TestApp::boot("AT_BOOT = ENV['SECRET']; run ->(e) { [200, {}, [AT_BOOT, ENV['DYNO']]] }")
            .await;
    assert_eq!(app.get("/").await.unwrap().1, "s3cretweb.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_a_program_raises_enoent() {
    let app = TestApp::boot(
        "ways = [-> { `id` }, -> { spawn({}, 'id -u', out: :err) }, -> { Process.spawn('id') }, -> { IO.popen(['id']) },
                 -> { system('id', exception: true) }, -> { exec('id') }, -> { Kernel.exec('id') }]
         run ->(e) { [200, {}, [system('id').inspect, *ways.map { |way| way.call rescue \" #{$!.class}\" }]] }",
    )
    .await;
    let expected = format!("nil{}", " Errno::ENOENT".repeat(7));
    assert_eq!(app.get("/").await.unwrap().1, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn printed_text_goes_to_the_log() {
    let app = TestApp::boot(
        "run ->(e) { puts 'one'; STDOUT.puts 'two'; warn 'three'; [200, {}, ['x']] }",
    )
    .await;
    assert_eq!(app.get("/").await.unwrap().1, "x");
    assert_eq!(
        app.log_lines(),
        ["web.1: one", "web.1: two", "web.1: three"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn exception_becomes_a_500_and_logs_its_backtrace() {
    let app = TestApp::boot("run ->(e) { raise 'boom' }").await;
    assert_eq!(app.get("/").await.unwrap().0, 500);
    assert!(
        app.log_lines()[0].contains("boom (RuntimeError)"),
        "{:?}",
        app.log_lines()
    );
    assert_eq!(app.dyno_count(), 1, "the dyno is used again");
}

#[tokio::test(flavor = "multi_thread")]
async fn dynos_of_one_image_share_no_random_numbers() {
    let source = "
        require 'securerandom'
        require 'openssl'
        OpenSSL::Random.random_bytes(8)
        MINE = Random.new
        run ->(e) {
          [200, {}, [[rand, MINE.rand, Random.rand, SecureRandom.hex, Random.bytes(4).unpack1('H*'),
                      OpenSSL::Random.random_bytes(8).unpack1('H*'), [*1..50].shuffle.inspect, Process.pid].join('|')]]
        }";
    let options = Options {
        isolation: Isolation::Request,
        ..Options::default()
    };
    let app = TestApp::boot_with(source, options).await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..20 {
        let (_, body) = app.get("/").await.unwrap();
        for (kind, value) in body.split('|').enumerate() {
            assert!(
                seen.insert((kind, value.to_owned())),
                "generator {kind} gave {value} twice"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_isolation_leaves_no_state() {
    let source = "$count = 0; run ->(e) { $count += 1; [200, {}, [$count.to_s]] }";
    let shared = TestApp::boot(source).await;
    assert_eq!(shared.get("/").await.unwrap().1, "1");
    assert_eq!(shared.get("/").await.unwrap().1, "2");
    let options = Options {
        isolation: Isolation::Request,
        ..Options::default()
    };
    let alone = TestApp::boot_with(source, options).await;
    assert_eq!(alone.get("/").await.unwrap().1, "1");
    assert_eq!(alone.get("/").await.unwrap().1, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn sample_requests_warm_the_image_at_the_apps_own_host() {
    let source = "
        $hosts = []
        run ->(e) { $hosts << e['HTTP_HOST']; puts 'served'; [200, {}, [$hosts.inspect]] }";
    let options = Options {
        warm_up: WarmUp::Requests,
        ..Options::default()
    };
    let app = TestApp::boot_with(source, options).await;
    let own = "\"test-app.localhost\"";
    let (_, body) = app.get("/").await.unwrap();
    assert!(body.starts_with(&format!("[{own}, {own}, ")), "{body}");
    assert_eq!(app.log_lines().len(), 1, "samples are not logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn sample_requests_ask_for_each_path_before_the_heap_is_settled() {
    let source = "
        $asked = []
        run ->(e) {
          # The test's own request has no REQUEST_URI.
          $asked << [e['rack.url_scheme'], e['REQUEST_URI'], GC.count > ($count ||= GC.count)]
          next [301, { 'location' => 'https://test-app.localhost/' }, []] if e['rack.url_scheme'] == 'http' && e['PATH_INFO'] == '/'
          next [302, { 'location' => '/b?d=1' }, []] if e['PATH_INFO'] == '/a'
          [200, {}, $asked.map { |asked| asked.join(' ') }]
        }";
    let paths = ["/", "/a"].map(|path| path.to_owned().try_into().unwrap());
    let options = Options {
        warm_up: WarmUp::Paths(paths.to_vec()),
        ..Options::default()
    };
    let app = TestApp::boot_with(source, options).await;
    let (_, body) = app.get("/asked").await.unwrap();
    let expected = [
        "http / false",
        "https / false",
        "https /a false",
        "https /b?d=1 false",
        "https / true",
        "https /b?d=1 true",
        "https / true",
        "https /b?d=1 true",
        "http  true",
    ];
    assert_eq!(body, expected.concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sample_that_does_not_end_leaves_the_others() {
    let source = "
        $asked = []
        run ->(e) {
          sleep if e['PATH_INFO'] == '/slow'
          $asked << e['PATH_INFO']
          [200, {}, [$asked.tally.inspect]]
        }";
    let paths = ["/slow", "/a", "/b"].map(|path| path.to_owned().try_into().unwrap());
    let options = Options {
        warm_up: WarmUp::Paths(paths.to_vec()),
        ..Options::default()
    };
    let app = TestApp::boot_with(source, options).await;
    let (_, body) = app.get("/asked").await.unwrap();
    assert_eq!(body, "{\"/a\"=>3, \"/b\"=>3, \"/asked\"=>1}");
}

#[tokio::test(flavor = "multi_thread")]
async fn app_that_fails_sample_requests_boots_without_them() {
    for action in [
        "sleep",
        "loop {}",
        "exit! 1",
        "throw :x",
        "a = []; loop { a << 'x' * 10_000_000 }",
    ] {
        let source = format!(
            "$count = 0; run ->(e) {{ $count += 1; {action} if e['PATH_INFO'] == '/'; [200, {{}}, [$count.to_s]] }}"
        );
        let options = Options {
            warm_up: WarmUp::Requests,
            ..Options::default()
        };
        let app = TestApp::boot_with(&source, options).await;
        // An exception is a valid answer, so the samples count. Samples that do not end leave no trace.
        let expected = if action.starts_with("throw") {
            "4"
        } else {
            "1"
        };
        assert_eq!(app.get("/other").await.unwrap().1, expected, "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_loop_fails_only_its_own_request() {
    let limits = GridLimits {
        first_byte: Duration::from_millis(500),
        ..GridLimits::default()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    let source = "run ->(e) { loop {} if e['PATH_INFO'] == '/loop'; [200, {}, ['ok']] }";
    let app = TestApp::boot_with(source, options).await;
    let (looping, other) = tokio::join!(app.get("/loop"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        app.get("/").await
    });
    assert_eq!(looping.unwrap_err(), DispatchError::Timeout);
    assert_eq!(other.unwrap().1, "ok");
    assert_eq!(app.get("/").await.unwrap().1, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_closes_the_connection_and_replaces_the_dyno() {
    let source = "run ->(e) { exit!(3) if e['PATH_INFO'] == '/now'; exit if e['PATH_INFO'] == '/exit'; [200, {}, ['ok']] }";
    let app = TestApp::boot(source).await;
    for path in ["/exit", "/now"] {
        assert!(
            matches!(app.get(path).await, Err(DispatchError::NoResponse(_))),
            "{path}"
        );
        assert_eq!(app.get("/").await.unwrap().1, "ok");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_recursion_bombs_fail_only_their_own_requests() {
    let source = "
        def deep(n) = 1 + deep(n + 1)
        run ->(e) {
          case e['PATH_INFO']
          when '/memory' then a = []; loop { a << 'x' * 10_000_000 }
          when '/deep' then deep(0)
          end
          [200, {}, ['ok']]
        }";
    let app = TestApp::boot(source).await;
    assert!(app.get("/memory").await.is_err());
    assert_eq!(app.get("/deep").await.unwrap().0, 500);
    assert_eq!(app.get("/").await.unwrap().1, "ok");
    assert!(
        app.log_lines().iter().any(|line| line.contains("R15")),
        "{:?}",
        app.log_lines()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn request_body_streams_and_can_be_rewound() {
    let source = "
        run ->(e) {
          i = e['rack.input']
          one = i.read(5)
          rest = i.read
          i.rewind
          [200, {}, [one, '-', rest, '-', i.read, '-', e['CONTENT_LENGTH'].inspect]]
        }";
    let app = TestApp::boot(source).await;
    let body = app
        .send(request("POST", "/", "hello world"))
        .await
        .unwrap()
        .1;
    assert_eq!(body, "hello- world-hello world-\"11\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_response_body_is_written_and_closed() {
    let source = "
        class Each
          def each; yield 'a'; yield 'b'; end
          def close; warn 'closed'; end
        end
        run ->(e) {
          case e['PATH_INFO']
          when '/each' then [200, {}, Each.new]
          when '/call' then [200, {}, ->(s) { s.write('c'); s << 'd'; s.close }]
          when '/file' then [200, {}, File.open('/app/config.ru')]
          when '/array' then [200, {'set-cookie' => ['a=1', 'b=2']}, ['e', 'f']]
          when '/none' then [204, {}, Each.new]
          end
        }";
    let app = TestApp::boot(source).await;
    assert_eq!(app.get("/each").await.unwrap().1, "ab");
    assert_eq!(app.get("/call").await.unwrap().1, "cd");
    assert_eq!(app.get("/file").await.unwrap().1, source);
    assert_eq!(app.get("/array").await.unwrap().1, "ef");
    assert_eq!(app.get("/none").await.unwrap(), (204, String::new()));
    assert_eq!(
        app.send(request("HEAD", "/each", "")).await.unwrap(),
        (200, String::new())
    );
    assert_eq!(app.log_lines(), ["web.1: closed"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_queue_for_the_formation() {
    let source = "run ->(e) { sleep 0.05; [200, {}, [ENV['DYNO']]] }";
    let options = Options {
        formation: 2,
        ..Options::default()
    };
    let app = TestApp::boot_with(source, options).await;
    let all = futures_util::future::join_all((0..8).map(|_| app.get("/"))).await;
    let dynos: std::collections::BTreeSet<_> =
        all.into_iter().map(|answer| answer.unwrap().1).collect();
    assert_eq!(dynos.into_iter().collect::<Vec<_>>(), ["web.1", "web.2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_formation_and_full_queue_refuse_requests() {
    let limits = GridLimits {
        backlog: 1,
        ..GridLimits::default()
    };
    let options = Options {
        limits,
        formation: 1,
        ..Options::default()
    };
    let app = TestApp::boot_with("run ->(e) { sleep 0.2; [200, {}, []] }", options).await;
    let all = futures_util::future::join_all((0..4).map(|_| app.get("/"))).await;
    let refused = all
        .iter()
        .filter(|answer| **answer == Err(DispatchError::Backlog))
        .count();
    assert_eq!(refused, 2, "one runs, one waits: {all:?}");
    app.scale(0);
    assert_eq!(app.get("/").await, Err(DispatchError::NoProcesses));
}

#[tokio::test(flavor = "multi_thread")]
async fn command_returns_its_exit_status() {
    let app = TestApp::boot("run ->(e) { [200, {}, []] }").await;
    let (status, output) = app
        .run(&["ruby", "-e", "puts 6 * 7; print ENV['DYNO']; exit 3"])
        .await;
    assert_eq!((status, output.as_str()), (3, "42\nrun.1"));
    let (status, output) = app.run(&["ls"]).await;
    assert_eq!(status, 127);
    assert!(output.contains("command not found"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn app_that_does_not_load_reports_its_backtrace() {
    let error = TestApp::boot_error("require 'no_such_gem'\nrun nil")
        .await
        .unwrap();
    assert!(
        error.contains("cannot load such file -- no_such_gem"),
        "{error}"
    );
    assert!(error.contains("/app/config.ru:1"), "{error}");
    assert!(error.contains("add the gem to a Gemfile"), "{error}");
    let error = TestApp::boot_error("run ->(e) { [200, {}, [] }")
        .await
        .unwrap();
    assert!(error.contains("/app/config.ru:1: syntax error"), "{error}");
    assert!(!error.contains("/usr/lib/corundum"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn network_libraries_load_in_packs_without_sockets() {
    let source = "
        require 'ipaddr'
        require 'net/http'
        run ->(e) {
          refused = begin
            Net::HTTP.get(URI('http://localhost/'))
          rescue SystemCallError
            $!.message
          end
          [200, {}, [IPAddr.new('10.0.0.0/8').include?('10.1.2.3').to_s, ' ', refused]]
        }";
    let options = Options {
        edition: Series::Ruby34.quickest(),
        ..Options::default()
    };
    let app = TestApp::boot_with(source, options).await;
    let (status, body) = app.get("/").await.unwrap();
    assert_eq!(status, 200, "{:?}", app.log_lines());
    assert!(
        body.starts_with("true ") && body.contains("Ruby 3.3 and 3.4 built from source have them"),
        "{body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_private_and_those_of_the_pack_are_read_only() {
    let source = "
        run ->(e) {
          seen = [Dir.children('/tmp'), Dir.children('/app')]
          File.write('/tmp/a', 'x')
          File.write('/app/b', 'y')
          seen << (File.write('/etc/passwd', 'z') rescue $!.class) << (File.delete('/usr/lib/corundum/dyno.rb') rescue $!.class)
          seen << (File.write('/c', 'z') rescue $!.class) << (Dir.mkdir('/usr/d') rescue $!.class)
          seen << (File.read('/app/../../etc/shadow') rescue $!.class) << (Dir.rmdir('/app') rescue $!.class)
          [200, {}, [seen.inspect]]
        }";
    let options = Options {
        isolation: Isolation::Request,
        ..Options::default()
    };
    let app = TestApp::boot_with(source, options).await;
    let expected = r#"[[], ["config.ru"], Errno::EROFS, Errno::EROFS, Errno::EROFS, Errno::EROFS, Errno::ENOENT, Errno::EBUSY]"#;
    for _ in 0..2 {
        assert_eq!(app.get("/").await.unwrap().1, expected);
    }
}

/// Evaluates `source` in a request of an app on the default pack, and returns the inspected result.
async fn answer(source: &str) -> String {
    let app = TestApp::boot(&format!(
        "run ->(env) {{ [200, {{}}, [begin; {source}; end.inspect]] }}"
    ))
    .await;
    let (status, body) = app.get("/").await.unwrap();
    assert_eq!(status, 200, "{:?}", app.log_lines());
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn timeout_interrupts_a_running_block() {
    let body = answer(
        "require 'timeout'
         started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
         seen = []
         seen << (Timeout.timeout(0.1) { loop { } } rescue $!.class)
         seen << (Timeout.timeout(0.1) { sleep 60 } rescue $!.message)
         seen << (Timeout.timeout(0.1, ArgumentError, 'mine') { begin; loop { }; rescue ArgumentError; :rescued; end } rescue $!.class)
         seen << (Timeout.timeout(0.2) { begin; Timeout.timeout(60) { loop { } }; rescue StandardError; :wrong; end } rescue $!.class)
         seen << Timeout.timeout(60) { :done } << Timeout.timeout(nil) { 1 }
         seen << (begin; Timeout.timeout(0.1) { begin; loop { }; ensure; seen << :ensured; end }; rescue Timeout::Error; 2; end)
         seen << (Process.clock_gettime(Process::CLOCK_MONOTONIC) - started < 10)",
    )
    .await;
    assert_eq!(
        body,
        r#"[Timeout::Error, "execution expired", :rescued, Timeout::Error, :done, 1, :ensured, 2, true]"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn timeout_interrupts_every_kind_of_endless_program() {
    // The calls of a tree of methods jump nowhere: only returns are sure to poll. Without polls, the tree takes minutes.
    let body = answer(
        "require 'timeout'
         def tree0 = 1
         1.upto(33) { |depth| eval \"def tree#{depth} = (tree#{depth - 1}; tree#{depth - 1})\" }
         started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
         programs = [
           -> { tree33 }, -> { while true do end }, -> { begin; raise ''; rescue; retry; end }, -> { [1].each { redo } },
           -> { 1.step { } }, -> { [1].cycle { } }, -> { Hash.new { |h, k| h[k + 1] if k < 1 }.then { |h| loop { h[0] } } },
           -> { catch(:x) { throw :x } while true }, -> { Enumerator.produce(1, &:succ).lazy.map { }.each { } }
         ]
         programs.map { |program| Timeout.timeout(0.1) { program.call } rescue $!.class }.tally
           .merge(soon: Process.clock_gettime(Process::CLOCK_MONOTONIC) - started < 20)",
    )
    .await;
    assert_eq!(body, "{Timeout::Error=>9, :soon=>true}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_objects_of_every_kind_leave_the_others_intact() {
    let body = answer(
        "Small = Struct.new(:one, :two) unless defined?(Small)
         Large = Struct.new(*(1..40).map { |n| :\"m#{n}\" }) unless defined?(Large)
         make = ->(i) {
           text = \"y\" * 600 + i.to_s
           many = Object.new.tap { |object| 12.times { |n| object.instance_variable_set(:\"@v#{(i + n) % 30}\", i + n) } }
           marked = +\"marked #{i}\"
           marked.instance_variable_set(:@mark, [i])
           [i * 1.5, Rational(i, 7), 2**80 + i, \"s#{i}\", text, text[5, 500], [i, i], Array.new(60) { i }, Array.new(60) { i }.first(50), { i => i.to_s },
            (0..20).to_h { |n| [n, n * i] }, Small.new(i, [i]), Large.new(*Array.new(40) { i }), many.instance_variables.map { |v| many.instance_variable_get(v) },
            marked, marked.instance_variable_get(:@mark), -\"shared #{i}\", /r#{i}/.source, ->(n) { n + i }.call(1)]
         }
         finalized = 0
         count = proc { finalized += 1 }
         kept = []
         survivors = 60.times.map { |i| make.(i) }
         expected = survivors.inspect
         ids = survivors.flatten.map(&:object_id).uniq.size
         300.times do |i|
           made = make.(i + 1000)
           made.each(&:object_id) if i % 3 == 0
           ObjectSpace.define_finalizer(made[4], count) && ObjectSpace.define_finalizer(made[9], count) if i % 5 == 0
           GC.stress = (i % 100 == 0)
           kept << made[i % made.size] if i % 10 == 0
           GC.stress = false
           GC.start(full_mark: i % 40 == 0) if i % 20 == 0
         end
         expected_kept = kept.inspect
         before = GC.stat(:total_freed_objects)
         2000.times { |i| make.(i) }
         3.times { GC.start }
         GC.verify_internal_consistency
         [survivors.inspect == expected, kept.inspect == expected_kept, survivors.flatten.map(&:object_id).uniq.size == ids, finalized > 50,
          GC.stat(:total_freed_objects) - before > 40_000, GC.stat(:heap_live_slots) < 200_000]",
    )
    .await;
    assert_eq!(body, "[true, true, true, true, true, true]");
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_recursion_raises_system_stack_error() {
    let body = answer(
        "def deep(n) = n + deep(n + 1)
         def mapped(n) = [n].map { |m| mapped(m + 1) }
         a = []; b = []; 20_000.times { a = [a]; b = [b] }
         [-> { deep(0) }, -> { mapped(0) }, -> { a.inspect.size }, -> { a == b }, -> { Marshal.dump(a) },
          -> { a.join }, -> { a.flatten }, -> { eval('[' * 20_000 + ']' * 20_000).size }].map { |call|
           begin; call.call; rescue SystemStackError, SyntaxError; :deep; end
         }",
    )
    .await;
    assert_eq!(
        body,
        "[:deep, :deep, :deep, :deep, :deep, :deep, [], :deep]"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn new_seed_of_an_app_reaches_every_hash() {
    let body = answer(
        "strings = ObjectSpace.each_object(String).select(&:frozen?)
         stale = strings.reject { |string| string.hash == String.new(string.b, encoding: string.encoding).hash }
         tables = ObjectSpace.each_object(Hash).reject(&:compare_by_identity?)
         lost = tables.select { |table| table.any? { |key, _| [String, Symbol, Integer].include?(key.class) && !table.key?(key) } }
         number = (kept = Object.new).object_id
         [strings.size > 1000, stale.first(3), tables.size > 100, lost.map(&:keys).first(3), ObjectSpace._id2ref(number).equal?(kept)]",
    )
    .await;
    assert_eq!(body, "[true, [], true, [], true]");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_extension_of_the_pack_loads() {
    let body = answer(
        "require 'bcrypt'; require 'commonmarker'; require 'racc/parser'; require 'bigdecimal/util'; require 'nkf'
         require 'ripper'; require 'objspace'; require 'io/console'; require 'io/wait'; require 'io/nonblock'; require 'etc'
         require 'digest/bubblebabble'; require 'yaml'; require 'zlib'; require 'openssl'; require 'coverage'; require 'fcntl'
         require 'erb/escape'; require 'cgi/escape'; require 'pathname'; require 'stringio'; require 'strscan'; require 'date'
         require 'monitor'; require 'rbconfig/sizeof'
         key = OpenSSL::PKey::RSA.new(1024)
         secret = OpenSSL::Cipher.new('aes-256-gcm').encrypt.tap { |c| c.key = 'k' * 32; c.iv = 'i' * 12 }
         [BCrypt::Password.create('a', cost: 4) == 'a', CommonMarker.render_html('*a*'), BigDecimal('1.1') + 1 == '2.1'.to_d,
          Racc::Parser::Racc_Runtime_Type, NKF.nkf('-w', 'a'), Ripper.sexp('1')[0], YAML.load('a: [1]').to_a,
          Zlib.inflate(Zlib.deflate('z' * 99)).size, OpenSSL::HMAC.hexdigest('SHA256', 'k', 'm')[0, 4],
          key.public_key.verify('SHA256', key.sign('SHA256', 'd'), 'd'), secret.update('x').size,
          OpenSSL::KDF.pbkdf2_hmac('p', salt: 's', iterations: 2, length: 4, hash: 'SHA1').size,
          OpenSSL::X509::Certificate.new.version]",
    )
    .await;
    assert_eq!(
        body,
        r#"[true, "<p><em>a</em></p>\n", true, "c", "a", :program, [["a", [1]]], 99, "b600", true, 1, 4, 0]"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn touch_creates_a_file() {
    let body = answer("require 'fileutils'; FileUtils.touch('/tmp/new'); FileUtils.touch('/tmp/new'); Dir.children('/tmp')").await;
    assert_eq!(body, r#"["new"]"#);
}

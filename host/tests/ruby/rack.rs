// Requirements of the Rack specification, versions 2 and 3, that a test can observe without the rack gem.

use bytes::Bytes;
use corundum_host::grid::DispatchError;


#[tokio::test(flavor = "multi_thread")]
async fn rack_input_behaves_like_an_io() {
    let source = r#"
        run ->(e) {
          i = e['rack.input']
          seen = [i.read(0), i.read(3), i.gets, i.read(4, +'old'), i.readpartial(2), i.read, i.read, i.read(1), i.read(1, b = +'old'), b, i.gets]
          i.rewind
          seen << i.each.to_a << i.read << (i.read(-1) rescue $!.class)
          i.rewind
          seen << i.read.encoding.to_s << e['PATH_INFO'].encoding.to_s
          [200, {}, [seen.inspect]]
        }"#;
    let app = boot(source).await;
    let expected = r#"["", "a\nb", "c\n", "defg", "h\n", "i", "", nil, nil, "", nil, ["a\n", "bc\n", "defgh\n", "i"], "", ArgumentError, "ASCII-8BIT", "ASCII-8BIT"]"#;
    let body = app
        .send(request("POST", "/", "a\nbc\ndefgh\ni"))
        .await
        .unwrap()
        .1;
    assert_eq!(body, expected);
    let pieces = ["a\nb", "c\nde", "fgh\n", "i"].map(Bytes::from).to_vec();
    let body = app.send(chunked("/", pieces)).await.unwrap().1;
    assert_eq!(body, expected);
    let empty = r#"["", nil, nil, nil, EOFError, "", "", nil, nil, "", nil, [], "", ArgumentError, "ASCII-8BIT", "ASCII-8BIT"]"#;
    let source = source.replace("i.readpartial(2)", "(i.readpartial(2) rescue $!.class)");
    let app = boot(&source).await;
    assert_eq!(app.get("/").await.unwrap().1, empty);
    assert_eq!(app.send(chunked("/", vec![])).await.unwrap().1, empty);
}

#[tokio::test(flavor = "multi_thread")]
async fn body_too_large_to_buffer_is_read_once() {
    let source = r##"
        run ->(e) {
          i = e['rack.input']
          bytes = lines = 0
          while (line = i.gets)
            bytes += line.bytesize
            lines += 1
            bytes += i.read(10_000).to_s.bytesize if lines % 2 == 0
          end
          i.rewind
          [200, {}, ["#{bytes} #{lines > 10} #{i.read rescue $!.message}"]]
        }"##;
    let app = boot(source).await;
    let piece = Bytes::from(format!("{}\n", "x".repeat(99_999)));
    let body = app.send(chunked("/", vec![piece; 30])).await.unwrap().1;
    assert_eq!(
        body,
        "3000000 true the request's body was too large to be kept: it can be read only once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn environment_describes_the_request() {
    let source = "
        run ->(e) {
          keys = %w[CONTENT_LENGTH HTTP_TRANSFER_ENCODING SERVER_PROTOCOL HTTP_VERSION rack.version rack.hijack? rack.url_scheme]
          [200, {}, [e.values_at(*keys).inspect, e.frozen?.inspect]]
        }";
    let app = boot(source).await;
    let rest = r#""HTTP/1.1", "HTTP/1.1", nil, true, "http"]false"#;
    let get = app.get("/").await.unwrap().1;
    assert_eq!(get, format!("[nil, nil, {rest}"));
    let post = app.send(request("POST", "/", "abc")).await.unwrap().1;
    assert_eq!(post, format!("[\"3\", nil, {rest}"));
    let unknown = app.send(chunked("/", vec!["abc".into()])).await.unwrap().1;
    assert_eq!(unknown, format!("[nil, \"chunked\", {rest}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn header_arrays_repeat_and_values_cannot_inject_headers() {
    let source = r#"
        run ->(e) {
          case e['PATH_INFO']
          when '/array' then [200, { 'set-cookie' => ['a=1', 'b=2'], 'x-none' => nil }, ['']]
          when '/lines' then [200, { 'Set-Cookie' => "a=1\nb=2" }, ['']]
          when '/pairs' then ['201', [['x-a', 1], ['x-a', 'ü']], ["\xff"]]
          when '/smuggle' then [200, { 'x-a' => ["1\nset-cookie: c=3"], 'x-b' => "2\nset-cookie: d=4" }, ['']]
          when '/name' then [200, { "x-a: 1\nset-cookie" => 'c=3' }, ['']]
          end
        }"#;
    let app = boot(source).await;
    let headers = async |path| app.answer(request("GET", path, "")).await.unwrap().headers;
    assert_eq!(
        headers("/array").await,
        ["set-cookie: a=1", "set-cookie: b=2"]
    );
    assert_eq!(
        headers("/lines").await,
        ["Set-Cookie: a=1", "Set-Cookie: b=2"]
    );
    assert_eq!(headers("/pairs").await, ["x-a: 1", "x-a: ü"]);
    assert_eq!(
        headers("/smuggle").await,
        [
            "x-a: 1",
            "x-a: set-cookie: c=3",
            "x-b: 2",
            "x-b: set-cookie: d=4"
        ]
    );
    assert_eq!(app.get("/name").await.unwrap().0, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_response_is_incomplete_and_its_body_is_closed() {
    let source = "
        class Broken
          def initialize(good) = @good = good
          def each
            @good.times { yield 'x' * 70_000 }
            raise 'broken'
          end
          def close = warn('closed')
        end
        run ->(e) { [200, {}, Broken.new(e['PATH_INFO'][1..].to_i)] }";
    let app = boot(source).await;
    let before = app.get("/0").await.unwrap();
    assert_eq!(before.0, 500, "nothing was written, so an error can be");
    assert!(matches!(
        app.get("/2").await,
        Err(DispatchError::NoResponse(_))
    ));
    let log = app.log_lines();
    let count = |text: &str| log.iter().filter(|line| line.contains(text)).count();
    assert_eq!((count("closed"), count("broken (RuntimeError)")), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn response_finished_hooks_always_run() {
    let source = "
        run ->(e) {
          e['rack.response_finished'] << ->(env, status, headers, error) { warn [status, headers&.to_a, error].inspect }
          e['rack.response_finished'] << ->(*) { raise 'late' }
          e['rack.after_reply'] = [-> { warn 'after' }]
          raise 'early' if e['PATH_INFO'] == '/raise'
          [200, { 'x-a' => '1' }, ['ok']]
        }";
    let app = boot(source).await;
    assert_eq!(app.get("/").await.unwrap(), (200, "ok".to_owned()));
    let log = app.log_lines().join("\n");
    for part in [
        "late (RuntimeError)",
        "[200, [[\"x-a\", \"1\"]], nil]",
        "after",
    ] {
        assert!(log.contains(part), "{part} is missing in {log}");
    }
    assert_eq!(app.get("/raise").await.unwrap().0, 500);
    let log = app.log_lines().join("\n");
    assert!(
        log.contains("[nil, nil, #<RuntimeError: early>]"),
        "{}",
        log
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rackup_file_supports_run_use_map_and_magic_comments() {
    let source = "# frozen_string_literal: true
        class Tag
          def initialize(app, name:) = (@app, @name = app, name)
          def call(env) = @app.call(env).then { |s, h, b| [s, h, [\"#{@name}(\", *b, ')']] }
        end
        here = ->(e) { [200, {}, [e['SCRIPT_NAME'], '|', e['PATH_INFO'], ''.frozen?.to_s]] }
        use Tag, name: 'outer'
        map('/a') { use Tag, name: 'a'; map('/b') { run here }; run here }
        use Tag, name: 'inner'
        run here
__END__
        not Ruby";
    let app = boot(source).await;
    for (path, body) in [
        ("/a/b/c", "outer(a(/a/b|/ctrue))"),
        ("/a", "outer(a(/a|true))"),
        ("/ab", "outer(inner(|/abtrue))"),
    ] {
        assert_eq!(app.get(path).await.unwrap().1, body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn throw_and_catch_follow_ruby() {
    let app = boot("run ->(e) { [200, {}, []] }").await;
    let source = r#"
        seen = []
        seen << catch(:a) { catch(:b) { throw :a, 1 }; 2 }
        seen << catch(:a) { begin; throw :a; rescue Exception; 3; ensure; seen << :ensure; end }
        seen << catch { |tag| [1].each { [2].each_with_index { throw tag, 4 } }; 5 }
        seen << catch(:a) { catch(:a) { throw :a, 6 }; 7 }
        seen << (throw(:none, 8) rescue [$!.class, $!.tag, $!.value, $!.message])
        seen << (catch('x') { throw 'x' + '' } rescue $!.class)
        seen << Kernel.catch(:a) { Kernel.throw :a, 9 }
        def leave = catch(:a) { return 10 }
        seen << leave << catch(:a) { next 11 } << (catch(:a) { raise 'x' } rescue 12) << (throw(:a) rescue 13)
        p seen
    "#;
    let (status, output) = app.run(&["ruby", "-e", source]).await;
    let expected = r#"[1, :ensure, nil, 4, 7, [UncaughtThrowError, :none, 8, "uncaught throw :none"], UncaughtThrowError, 9, 10, 11, 12, 13]"#;
    assert_eq!((status, output.trim()), (0, expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn log_stays_open_after_the_app_closes_it() {
    let app = boot(
        "run ->(e) { $stderr.close; STDOUT.close; e['rack.errors'].close; e['rack.errors'].puts 'still'; [200, {}, []] }",
    )
    .await;
    assert_eq!(app.get("/").await.unwrap().0, 200);
    assert_eq!(app.log_lines(), ["web.1: still"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn body_that_the_app_has_framed_arrives_without_its_frames() {
    let source = r#"
        framed = { 'Transfer-Encoding' => 'chunked' }
        run ->(e) {
          case e['PATH_INFO']
          when '/array' then [200, framed, ["5\r\nhello\r\n", "6;x=y\r\n world\r\n0\r\n\r\n"]]
          when '/each' then [200, { 'transfer-encoding' => ['chunked'] }, "5\r\nhello\r\n6\r\n world\r\n0\r\nT: 1\r\n\r\n".each_char]
          when '/hijack' then [200, framed.merge('rack.hijack' => ->(s) { s << "B\r\nhello" << " world\r\n0\r\n\r\n"; s.close }), []]
          when '/call' then [200, framed, ->(s) { s << "b\r\nhello world\r\n" << "0\r\n\r\n" }]
          when '/short' then [200, framed, ["5\r\nhel"]]
          when '/invalid' then [200, framed, ["hello\r\n"]]
          when '/other' then [200, { 'transfer-encoding' => 'identity' }, ["5\r\n"]]
          end
        }"#;
    let app = boot(source).await;
    for path in ["/array", "/each", "/hijack", "/call"] {
        let answer = app.answer(request("GET", path, "")).await.unwrap();
        assert_eq!(answer.body, "hello world", "{path}");
        assert!(answer.headers.is_empty(), "{path}: {:?}", answer.headers);
    }
    assert_eq!(app.get("/other").await.unwrap().1, "5\r\n");
    let head = app.answer(request("HEAD", "/array", "")).await.unwrap();
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    for path in ["/short", "/invalid"] {
        let failed = app.get(path).await;
        assert!(matches!(failed, Err(DispatchError::NoResponse(_))), "{path}");
    }
    let log = app.log_lines().join("\n");
    assert!(log.contains("it ends within a chunk"), "{log}");
    assert!(log.contains("\"hello\" is not the size"), "{log}");
}

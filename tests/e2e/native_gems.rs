//! Gems with extensions in C and C++, unmodified, as apps use them.
//!
//! `script/native-gems` makes the gems. `CORUNDUM_TEST_NATIVE_GEMS` names a directory of further `.gem` files: all of them go into one
//! app, and those that [`FURTHER`] has checks for are used.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use corundum_test_support::gem_server::GemServer;
use corundum_test_support::node::TestNode;
use corundum_test_support::process::skip;

/// Gems that `script/native-gems` has made.
const MADE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/native-gems");

/// Variable with a directory of further gems.
const VARIABLE: &str = "CORUNDUM_TEST_NATIVE_GEMS";

/// Checks of a gem: an expression, and how `inspect` shows its value.
struct GemCheck {
    gem: &'static str,
    expression: &'static str,
    value: &'static str,
}

const fn check(gem: &'static str, expression: &'static str, value: &'static str) -> GemCheck {
    GemCheck {
        gem,
        expression,
        value,
    }
}

/// Gems whose extension no pack has.
const GEMS: &[GemCheck] = &[
    check(
        "nokogiri",
        "require 'nokogiri'; Nokogiri::HTML4('<p>a<p class=x>b').css('p.x').text",
        r#""b""#,
    ),
    check(
        "nokogiri",
        "Nokogiri::HTML5('<!doctype html><p>a<table><p>b').at_xpath('//body').children.map(&:name)",
        r#"["p", "p", "table"]"#,
    ),
    check(
        "nokogiri",
        "Nokogiri::HTML5.fragment('<svg><foreignObject>x').to_html",
        r#""<svg><foreignObject>x</foreignObject></svg>""#,
    ),
    check(
        "nokogiri",
        "d = Nokogiri::XML('<r xmlns:n=\"urn:n\"><n:a i=\"1\">é</n:a><n:a i=\"2\"/></r>') { |c| c.strict }; [d.xpath('//n:a[@i>1]', n: 'urn:n').size, d.xpath('count(//n:a)', n: 'urn:n'), d.at_xpath('//n:a', n: 'urn:n').text]",
        r#"[1, 2.0, "é"]"#,
    ),
    check(
        "nokogiri",
        "class Upcase; def up(nodes) = nodes.map { |n| n.text.upcase }.join; end; Nokogiri::XML('<r><a>x</a></r>').xpath('//a[up(.)=\"X\"]', Upcase.new).size rescue Nokogiri::XML('<r><a>x</a></r>').xpath('//a[nokogiri:up(.)=\"X\"]', Upcase.new).size",
        "1",
    ),
    check(
        "nokogiri",
        "s = Nokogiri::XSLT('<xsl:stylesheet version=\"1.0\" xmlns:xsl=\"http://www.w3.org/1999/XSL/Transform\"><xsl:output method=\"text\"/><xsl:template match=\"a\">[<xsl:value-of select=\".\"/>]</xsl:template></xsl:stylesheet>'); s.apply_to(Nokogiri::XML('<r><a>1</a><a>2</a></r>'))",
        r#""[1][2]""#,
    ),
    check(
        "nokogiri",
        "[Nokogiri::XML(\"<a>\\n<b></a>\").errors.first.line, (Nokogiri::XML('<a>', &:strict) rescue $!.class)]",
        "[2, Nokogiri::XML::SyntaxError]",
    ),
    check(
        "nokogiri",
        "n = []; Nokogiri::XML::SAX::Parser.new(Class.new(Nokogiri::XML::SAX::Document) { define_method(:start_element) { |name, _| n << name } }.new).parse('<a><b/></a>'); n",
        r#"["a", "b"]"#,
    ),
    check(
        "oj",
        "require 'oj'; [Oj.load('{\"a\":[1,2.5,null,\"é\"]}'), Oj.dump({ 'x' => [true, nil] }, mode: :compat)]",
        r#"[{"a"=>[1, 2.5, nil, "é"]}, "{\"x\":[true,null]}"]"#,
    ),
    check(
        "oj",
        "begin; Oj.load('{'); rescue Oj::ParseError => e; e.class; end",
        "Oj::ParseError",
    ),
    check(
        "sqlite3",
        "require 'sqlite3'; DB = SQLite3::Database.new('/tmp/check.db'); DB.execute('create table t (id integer primary key, x text)'); DB.execute('insert into t (x) values (?), (?)', ['a', 'é']); [DB.execute('select x from t order by id'), File.size('/tmp/check.db') > 0]",
        r#"[[["a"], ["é"]], true]"#,
    ),
    check(
        "sqlite3",
        "DB.execute('create virtual table f using fts5(body)'); DB.execute(\"insert into f values ('the quick fox'), ('lazy dog')\"); DB.execute(\"select body from f where f match 'qui*'\")",
        r#"[["the quick fox"]]"#,
    ),
    check(
        "sqlite3",
        "DB.execute(%q(select json_extract('{\"a\":[1,2]}', '$.a[1]'), sqrt(16)))",
        "[[2, 4.0]]",
    ),
    check(
        "sqlite3",
        "DB.create_function('double', 1) { |f, x| f.result = x * 2 }; begin; DB.transaction { DB.execute('delete from t'); raise 'no' }; rescue => e; [e.message, DB.get_first_value('select double(count(*)) from t')]; end",
        r#"["no", 4]"#,
    ),
    check(
        "racc",
        "require 'racc/parser'; [Racc::Parser::Racc_Runtime_Core_Version, Racc::Parser::Racc_Runtime_Type]",
        r#"["1.8.1", "c"]"#,
    ),
];

/// Gems whose extension the pack has in another version.
const LOCKED: &[GemCheck] = &[
    check(
        "bigdecimal",
        "require 'bigdecimal/util'; [BigDecimal::VERSION, (BigDecimal('1') / 3).round(5).to_s, '1.5'.to_d.to_s('F')]",
        r#"["3.1.8", "0.33333e0", "1.5"]"#,
    ),
    check(
        "date",
        "require 'date'; [Date::VERSION, Date.parse('2024-02-29').next_year.to_s]",
        r#"["3.4.1", "2025-02-28"]"#,
    ),
    check(
        "erb",
        "require 'erb'; [ERB.version, ERB.new('<%= 1 + 1 %>').result, ERB::Util.h('<a>')]",
        r#"["4.0.4", "2", "&lt;a&gt;"]"#,
    ),
    check(
        "json",
        "require 'json'; [JSON::VERSION, JSON.parse('{\"a\":[1,\"é\"]}'), JSON.generate([nil, 1.5]), JSON::Parser]",
        r#"["2.9.1", {"a"=>[1, "é"]}, "[null,1.5]", JSON::Ext::Parser]"#,
    ),
    check(
        "nkf",
        "require 'nkf'; NKF.nkf('-w -S', \"\\x82\\xA0\".b)",
        r#""あ""#,
    ),
    check(
        "psych",
        "require 'psych'; [Psych::VERSION, Psych.load(\"a: [1, x]\\n\"), { 'a' => [1] }.to_yaml]",
        r#"["5.2.2", {"a"=>[1, "x"]}, "---\na:\n- 1\n"]"#,
    ),
    check(
        "racc",
        "require 'racc/parser'; Racc::Parser::Racc_Runtime_Core_Version_C",
        r#""1.8.1""#,
    ),
    check(
        "stringio",
        "require 'stringio'; i = StringIO.new(\"a\\nb\"); [StringIO::VERSION, i.gets, i.read]",
        r#"["3.1.2", "a\n", "b"]"#,
    ),
    check(
        "strscan",
        "require 'strscan'; s = StringScanner.new('ab 12'); [StringScanner::Version, s.scan(/\\w+/), s.skip(/\\s+/), s.rest]",
        r#"["3.1.2", "ab", 1, "12"]"#,
    ),
];

/// Gems that no registry of this project's tests serves.
const FURTHER: &[GemCheck] = &[
    check(
        "bcrypt_pbkdf",
        "require 'bcrypt_pbkdf'; BCryptPbkdf.key('password', 'salt', 16, 4).bytesize",
        "16",
    ),
    check(
        "digest-crc",
        "require 'digest/crc32'; Digest::CRC32.hexdigest('abc')",
        r#""352441c2""#,
    ),
    check(
        "ed25519",
        "require 'ed25519'; k = Ed25519::SigningKey.generate; [k.verify_key.verify(k.sign('m'), 'm'), (k.verify_key.verify(k.sign('m'), 'n') rescue $!.class)]",
        "[true, Ed25519::VerifyError]",
    ),
    check(
        "hiredis-client",
        "require 'hiredis-client'; c = RedisClient.config(host: '127.0.0.1', port: 1, timeout: 2, driver: :hiredis, reconnect_attempts: 0).new_client; (c.call('PING') rescue $!.class)",
        "RedisClient::CannotConnectError",
    ),
    check(
        "jaro_winkler",
        "require 'jaro_winkler'; JaroWinkler.similarity('MARTHA', 'MARHTA').round(4)",
        "0.9611",
    ),
    check(
        "msgpack",
        "require 'msgpack'; MessagePack.unpack({ 'a' => [1, 2.5, nil] }.to_msgpack)",
        r#"{"a"=>[1, 2.5, nil]}"#,
    ),
    check(
        "mysql2",
        "require 'mysql2'; (Mysql2::Client.new(host: '127.0.0.1', port: 1, connect_timeout: 2) rescue $!.class)",
        "Mysql2::Error::ConnectionError",
    ),
    check(
        "nio4r",
        "require 'nio4r'; s = NIO::Selector.new; r, w = IO.pipe; s.register(r, :r); w << 'x'; [NIO.engine, s.select(1).size, s.close]",
        r#"["libev", 1, nil]"#,
    ),
    check(
        "ox",
        "require 'ox'; [Ox.parse('<a x=\"1\"><b>t</b></a>').b.text, Ox.load(Ox.dump([1, 'e']), mode: :object)]",
        r#"["t", [1, "e"]]"#,
    ),
    check(
        "pg",
        "require 'pg'; [(PG.connect('host=127.0.0.1 port=1') rescue $!.class), PG::TextEncoder::Array.new.encode([1, nil])]",
        r#"[PG::ConnectionBad, "{1,NULL}"]"#,
    ),
    check(
        "rdiscount",
        "require 'rdiscount'; RDiscount.new('*hi*').to_html",
        r#""<p><em>hi</em></p>\n""#,
    ),
    check(
        "redcarpet",
        "require 'redcarpet'; Redcarpet::Markdown.new(Redcarpet::Render::HTML).render('# a')",
        r#""<h1>a</h1>\n""#,
    ),
    check(
        "trilogy",
        "require 'trilogy'; (Trilogy.new(host: '127.0.0.1', port: 1) rescue $!.class)",
        "Trilogy::SyscallError::ECONNREFUSED",
    ),
    check(
        "unf_ext",
        "require 'unf_ext'; UNF::Normalizer.new.normalize(\"e\\u0301\", :nfc)",
        r#""é""#,
    ),
    check(
        "websocket-driver",
        "require 'websocket/driver'; WebSocket::Mask.mask('abc'.b, \"\\x01\\x02\\x03\\x04\".b)",
        r#""```""#,
    ),
];

/// Returns the gems in a directory: name, version and file.
fn gems_in(directory: &Path) -> BTreeMap<String, (String, PathBuf)> {
    let mut gems = BTreeMap::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some((name, version)) = file.strip_suffix(".gem").and_then(|full| {
            let version = full.rfind('-')? + 1;
            Some((&full[..version - 1], &full[version..]))
        }) else {
            continue;
        };
        gems.insert(name.to_owned(), (version.to_owned(), path.clone()));
    }
    gems
}

/// Pushes an app with `gems`, whose lockfile has `platform` for those that `variants` names, and compares the values of the checks
/// whose gem is there.
fn assert_checks(
    name: &str,
    gems: &BTreeMap<String, (String, PathBuf)>,
    variants: &[(&str, &str)],
    checks: &[GemCheck],
) -> String {
    let server = GemServer::start();
    for (gem, (version, path)) in gems_in(Path::new(MADE)).iter().chain(gems) {
        server.publish(gem, version, &fs::read(path).unwrap());
    }
    let url = server.url();
    let node = &TestNode::start_with(&["--gem-source", &url, "--build-ruby", "false"]);
    let app = node.create(name);
    let (mut gemfile, mut specs, mut names) = (String::new(), String::new(), String::new());
    for (gem, (version, _)) in gems {
        let platform = variants.iter().find(|(name, _)| name == gem);
        let platform = platform.map_or(String::new(), |(_, platform)| format!("-{platform}"));
        gemfile.push_str(&format!("gem '{gem}', require: false\n"));
        specs.push_str(&format!("    {gem} ({version}{platform})\n"));
        names.push_str(&format!("  {gem}\n"));
    }
    app.write("Gemfile", &format!("source '{url}'\n{gemfile}"));
    let lockfile = format!(
        "GEM\n  remote: {url}\n  specs:\n{specs}\nPLATFORMS\n  x86_64-linux\n\nDEPENDENCIES\n{names}"
    );
    app.write("Gemfile.lock", &lockfile);
    let used: Vec<&GemCheck> = checks
        .iter()
        .filter(|check| gems.contains_key(check.gem))
        .collect();
    for check in checks.iter().filter(|check| !gems.contains_key(check.gem)) {
        eprintln!("!! SKIPPED: {}: the gem is not there", check.gem);
    }
    // The checks of a gem run in one request, since each request may have another dyno, which links the extensions.
    let names: BTreeSet<&str> = used.iter().map(|check| check.gem).collect();
    let of = |gem: &str| {
        let of_gem = used.iter().filter(move |check| check.gem == gem);
        of_gem.copied().collect::<Vec<&GemCheck>>()
    };
    let cases = names.iter().map(|gem| {
        let lambdas: String = of(gem)
            .iter()
            .map(|check| format!("  -> {{ {} }},\n", check.expression))
            .collect();
        format!("'{gem}' => [\n{lambdas}],\n")
    });
    app.write(
        "config.ru",
        &format!(
            "CASES = {{\n{}}}\nrun ->(env) {{\n  values = CASES.fetch(env['QUERY_STRING']).map do |check|\n    check.call.inspect\n  rescue Exception => e\n    \"#{{e.class}}: #{{e.message}} #{{e.backtrace.first(3)}}\"\n  end\n  [200, {{}}, [values.join(\"\\n\")]]\n}}\n",
            cases.collect::<String>()
        ),
    );
    let push = app.push("main");
    push.assert_success();
    for gem in names {
        let (status, body) = node.get(name, &format!("/?{gem}"));
        assert_eq!(status, 200, "{body}");
        for (check, line) in of(gem).iter().zip(body.lines()) {
            assert_eq!(line, check.value, "{}", check.expression);
        }
        assert_eq!(body.lines().count(), of(gem).len(), "{body}");
    }
    push.text
}

#[test]
fn gems_of_distributions_compile_and_work() {
    let mut gems = gems_in(Path::new(MADE));
    if gems.is_empty() {
        return skip("native gems are missing: run script/native-gems");
    }
    gems.retain(|name, _| GEMS.iter().any(|check| check.gem == name));
    let variants = [
        ("nokogiri", "x86_64-linux-gnu"),
        ("sqlite3", "aarch64-linux-musl"),
    ];
    let text = assert_checks("native-app", &gems, &variants, GEMS);
    // The lockfile of another platform does not name what nokogiri's source needs to be built.
    assert!(text.contains("Using mini_portile2 2.8.7 from "), "{text}");
}

#[test]
fn locked_versions_replace_the_gems_of_the_pack() {
    let mut gems = gems_in(Path::new(MADE));
    if gems.is_empty() {
        return skip("native gems are missing: run script/native-gems");
    }
    gems.retain(|name, _| LOCKED.iter().any(|check| check.gem == name));
    let text = assert_checks("locked-app", &gems, &[], LOCKED);
    assert!(!text.contains("of the Ruby pack"), "{text}");
    let node = TestNode::start();
    // Versions that cannot be had, and those that cannot replace the pack's.
    let app = node.create("kept-app");
    app.write(
        "Gemfile",
        "source 'http://127.0.0.1:9/'\ngem 'bigdecimal'\ngem 'openssl'\n",
    );
    app.write("Gemfile.lock", "GEM\n  remote: http://127.0.0.1:9/\n  specs:\n    bigdecimal (3.1.7)\n    openssl (3.2.9)\n\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n  bigdecimal\n  openssl\n");
    app.write("config.ru", "require 'bigdecimal'\nrequire 'openssl'\nrun ->(_) { [200, {}, [BigDecimal('1.5').to_s, OpenSSL::Digest.hexdigest('MD5', '')]] }\n");
    let push = app.push("main");
    push.assert_success();
    for (gem, reason, locked) in [
        ("bigdecimal", "its server cannot be reached", "3.1.7"),
        ("openssl", "its connections are the pack's sockets", "3.2.9"),
    ] {
        let line = format!("of the Ruby pack ({reason}, and Gemfile.lock has {locked})");
        let found = push
            .text
            .lines()
            .find(|line| line.contains(&format!("Using {gem} ")));
        assert!(
            found.is_some_and(|found| found.contains(&line)),
            "{}",
            push.text
        );
    }
    let answer = "0.15e1d41d8cd98f00b204e9800998ecf8427e";
    assert_eq!(node.get("kept-app", "/"), (200, answer.to_owned()));
}

#[test]
fn further_gems_compile_and_work() {
    let Some(directory) = std::env::var_os(VARIABLE) else {
        eprintln!("!! SKIPPED: {VARIABLE} names no directory of further gems");
        return;
    };
    let gems = gems_in(Path::new(&directory));
    assert!(!gems.is_empty(), "{} has no gems", directory.display());
    assert_checks("further-app", &gems, &[], FURTHER);
}

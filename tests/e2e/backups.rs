//! `corundum backup` and `restore` of what apps have stored: volumes, Redis, and backups of databases.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use corundum_test_support::node::{StopOnDrop, TestNode};
use corundum_test_support::process::skip;

use corundum_test_support::postgres::PostgresServer;

/// An app that writes two files in turn, so that a copy shows whether it is of one moment.
const APP: &str = r##"require 'socket'
require 'uri'
def redis(*words)
  uri = URI(ENV.fetch('REDIS_URL'))
  socket = TCPSocket.new(uri.host, uri.port)
  [['AUTH', uri.password], words].map do |command|
    socket.write("*#{command.size}\r\n" + command.map { |word| "$#{word.bytesize}\r\n#{word}\r\n" }.join)
    line = socket.gets.chomp
    line.start_with?('$') && line != '$-1' ? socket.read(line[1..].to_i + 2).chomp : line
  end.last
ensure
  socket&.close
end
run(lambda do |env|
  body = case env['PATH_INFO']
    when '/step'
      number = (File.exist?('/data/one') ? File.read('/data/one').to_i : 0) + 1
      %w[one two].each { |name| File.write("/data/#{name}", format('%09d', number), mode: File::RDWR | File::CREAT) }
      number.to_s
    when '/read' then %w[one two].map { |name| File.read("/data/#{name}").to_i }.join(' ')
    when '/make'
      Dir.mkdir('/data/dir')
      File.symlink('one', '/data/link')
      'made'
    when '/link' then "#{File.readlink('/data/link')} #{File.directory?('/data/dir')}"
    when '/set' then redis('SET', 'key', 'value')
    when '/get' then redis('GET', 'key')
    else 'ready'
    end
  [200, {}, [body]]
end)
"##;

#[test]
fn volumes_redis_and_backups_of_databases_are_in_a_backup_of_the_running_node() {
    if !Path::new("/usr/bin/redis-server").exists() {
        return skip("redis-server (apt-get install redis-server): no backup of its files");
    }
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let config = server.config("[services.redis]\n[services.volume]\n");
    let mut node = TestNode::start_with(&["--config", config.to_str().unwrap()]);
    let app = node.deploy("app", APP);
    for service in ["volume", "redis", "postgres"] {
        app.cli(&node, &["addons:create", service]).assert_success();
    }
    app.cli(&node, &["ps:scale", "web=1"]).assert_success();
    assert_eq!(node.get("app", "/step").1, "1");
    assert_eq!(node.get("app", "/make").1, "made");
    assert_eq!(node.get("app", "/set").1, "+OK");
    app.cli(&node, &["pg:backups:capture"]).assert_success();

    let archive = node.data().parent().unwrap().join("node.tar.zst");
    let data = node.data();
    let backup = [
        "backup",
        archive.to_str().unwrap(),
        "--data-dir",
        data.to_str().unwrap(),
    ];
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                node.get("app", "/step");
            }
        });
        let _stop = StopOnDrop(&done);
        let made = node.cli(&backup);
        made.assert_success();
        assert!(!made.text.contains("is not in the backup"), "{}", made.text);
    });

    node.kill();
    fs::rename(&data, data.with_extension("old")).unwrap();
    let restore = [
        "restore",
        archive.to_str().unwrap(),
        "--data-dir",
        data.to_str().unwrap(),
    ];
    node.cli(&restore).assert_success();
    node.restart();
    let read = node.get("app", "/read").1;
    let (one, two) = read.split_once(' ').unwrap();
    let (one, two): (u64, u64) = (one.parse().unwrap(), two.parse().unwrap());
    assert!(one >= 1 && (two == one || two + 1 == one), "{read}");
    assert_eq!(node.get("app", "/link").1, "one true");
    assert_eq!(node.get("app", "/get").1, "value");
    app.cli(&node, &["pg:backups:restore", "b001", "--confirm", "app"])
        .assert_success();

    // Without a node that runs, too.
    node.kill();
    let second = archive.with_extension("second");
    let made = node.cli(&["backup", second.to_str().unwrap(), backup[2], backup[3]]);
    made.assert_success();
    assert!(!made.text.contains("is not in the backup"), "{}", made.text);
}

//! A node with few file descriptors.

use std::io::Write;
use std::net::TcpStream;

use corundum_test_support::node::TestNode;

#[test]
fn node_without_enough_descriptors_refuses_to_start_and_says_why() {
    for files in [64, 256] {
        let refused = TestNode::failed_start_with_open_files(files);
        refused.assert_failure("open files: the hard limit is");
        for part in ["400", "ulimit -Hn", "LimitNOFILE="] {
            assert!(refused.text.contains(part), "{files}: {}", refused.text);
        }
    }
}

#[test]
fn node_with_the_fewest_descriptors_builds_and_serves() {
    let node = TestNode::start_with_open_files(400, &["--build-ruby", "false"]);
    node.deploy("small", "run ->(e) { [200, {}, ['served']] }\n");
    // More clients than the node has descriptors, none of which sends a whole request.
    let mut idle: Vec<TcpStream> = Vec::new();
    for _ in 0..300 {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", node.http())) else {
            break;
        };
        let _ = stream.write_all(b"GET / HTTP/1.1\r\n");
        idle.push(stream);
    }
    assert_eq!(node.admin("/readyz").0, 200);
    node.cli(&["apps"]).assert_success();
    node.cli(&["config:set", "A=1", "--app", "small"])
        .assert_success();
    drop(idle);
    assert_eq!(node.get("small", "/"), (200, "served".to_owned()));
}

//! Attacks of clients on the router: requests that try to change the pages that other clients get.

use std::process::Command;

use corundum_test_support::http1::{exchange, status_and_body};
use corundum_test_support::node::TestNode;

/// The usual redirect to the canonical host, case by case as most are, and an echo of everything that a client sent.
const APP: &str = r#"
run ->(env) {
  cached = { "cache-control" => "public, max-age=600" }
  if env["PATH_INFO"] == "/echo"
    seen = env.select { |name, _| name.start_with?("HTTP_") }.map { |pair| pair.join("=") }
    [200, cached, [seen.sort.join("\n")]]
  elsif env["HTTP_HOST"].split(":").first != "canon.localhost"
    [301, cached.merge("location" => "http://canon.localhost/"), []]
  else
    [200, cached, ["home of #{env["HTTP_HOST"]} #{env["SERVER_NAME"]} #{env["REQUEST_URI"]}"]]
  end
}
"#;

/// Headers that servers in front of an app add, that frameworks read, and that browsers send. `Authorization` is not among
/// them: `public` says that its response is for everyone (RFC 9111 section 3.5).
const HEADERS: &str = "
x-requested-with accept user-agent referer origin x-cluster-client-ip via max-forwards x-forward-for base-url
x-wap-profile content-type x-remote-ip x-remote-addr wl-proxy-client-ip proxy-client-ip x-backend-host x-server-name
x-arr-ssl x-scheme x-proto x-ssl x-amz-cf-id x-azure-clientip akamai-origin-hop x-vercel-ip-country x-appengine-country
cloudfront-viewer-country cdn-loop x-country-code save-data upgrade-insecure-requests sec-fetch-mode x-csrf-token
x-api-key x-auth-token x-access-token x-session x-user x-token api-key x-amz-security-token apikey x-locale turbo-frame
x-inertia hx-request x-pjax accept-language accept-encoding x-env-path-info x-sendfile-type x-accel-mapping
x-forwarded-prefix x-forwarded-host x-forwarded-for x-forwarded-proto x-forwarded-port x-http-path x-path-info x-url
x-uri x-request-uri x-query-string x-script-name x-request-start x-queue-start surrogate-capability x-frame
x-request-id x-correlation-id x-b3-traceid traceparent cf-connecting-ip cookie forwarded x-original-url
cache-control pragma te priority dnt
";

fn get(node: &TestNode, target: &str, host: &str, headers: &str) -> (u16, String) {
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
    status_and_body(&exchange(node.http(), &request))
}

/// Requests a path over HTTP/2 with this `:authority`. Returns the status.
fn http2(node: &TestNode, authority: &str, path: &str) -> String {
    let done = Command::new("curl")
        .args(["-sS", "--http2-prior-knowledge", "--max-time", "20"])
        .args(["-o", "/dev/null", "-w", "%{http_code}"])
        .args(["-H", &format!("Host: {authority}")])
        .arg(format!("http://127.0.0.1:{}{path}", node.http()))
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn no_client_changes_the_page_of_another() {
    let node = TestNode::start();
    node.deploy("canon", APP);

    // Spellings of one URL: all are the same request, and none replaces the page.
    let spellings = [
        "CANON.localhost",
        "canon.localhost.",
        "canon.localhost:80",
        "Canon.LocalHost.:0080",
        "canon.localhost:",
    ];
    for (at, spelling) in spellings.into_iter().enumerate() {
        let path = format!("/?{at}");
        assert_eq!(http2(&node, spelling, &path), "200", "{spelling}");
        let home = format!("home of canon.localhost canon.localhost {path}");
        let absolute = format!("http://{spelling}{path}");
        for (target, host) in [
            (absolute.as_str(), "x"),
            (&path, spelling),
            (&path, "canon.localhost"),
        ] {
            let got = get(&node, target, host, "");
            assert_eq!(got, (200, home.clone()), "{target} {host}");
        }
    }

    // Headers outside the key: no value reaches a response that another client gets.
    for name in HEADERS.split_ascii_whitespace() {
        let path = format!("/echo?{name}");
        let attack = format!("{name}: evilvalue\r\n");
        let mut bodies = Vec::new();
        for _ in 0..2 {
            get(&node, &path, "canon.localhost", &attack);
            bodies.push(get(&node, &path, "canon.localhost", "").1);
        }
        for body in bodies {
            assert!(body.contains("HTTP_HOST=canon.localhost"), "{body}");
            assert!(!body.contains("evilvalue"), "{name}: {body}");
        }
    }
    let direct = get(
        &node,
        "/echo?never",
        "canon.localhost",
        "X-Sendfile-Type: X-Accel-Redirect\r\nX-Accel-Mapping: /app=/etc\r\n",
    );
    assert!(!direct.1.contains("SENDFILE") && !direct.1.contains("ACCEL_MAPPING"));
}

//! The API as other clients than the command line see it.

use std::process::Command;

use corundum_test_support::node::{ProcessOutput, TestNode, corundum};
use serde_json::Value;

use super::HELLO;

#[test]
fn resources_are_found_by_key_and_pushes_leave_builds() {
    let node = TestNode::start();
    let app = node.create("myapp");
    app.write("config.ru", HELLO);
    assert!(app.push("main").success);
    app.write("config.ru", "raise 'no'\n");
    assert!(!app.push("main").success);
    let token = node.token();
    let get = |path: &str| -> Value {
        let (status, body) = node.api(&format!("GET {path}"), &token, "", b"");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    };
    let account = get("/v1/account");
    let named = get("/v1/apps/myapp");
    assert_eq!(named["owner"]["email"], account["email"]);
    let path = format!("/v1/apps/{}", named["id"].as_str().unwrap());
    assert_eq!(get(&path), named);

    let release = get(&format!("{path}/releases/v1"));
    for identity in ["1", release["id"].as_str().unwrap()] {
        assert_eq!(get(&format!("{path}/releases/{identity}")), release);
    }
    let builds = get(&format!("{path}/builds"));
    let states: Vec<&str> = builds
        .as_array()
        .unwrap()
        .iter()
        .map(|build| build["status"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["failed", "succeeded"]);
    assert_eq!(builds[1]["release"]["id"], release["id"]);
    let output = format!("{path}/builds/{}/output", builds[0]["id"].as_str().unwrap());
    let (status, output) = node.api(&format!("GET {output}"), &token, "", b"");
    assert!(status == 200 && output.contains("-----> "), "{output}");

    let formation = get(&format!("{path}/formation/web"));
    assert_eq!(formation["quantity"], 16);
    let scale = b"{\"updates\": [{\"type\": \"web\", \"quantity\": \"+1\"}]}";
    let (status, body) = node.api(&format!("PATCH {path}/formation"), &token, "", scale);
    assert!(status == 200 && body.contains("\"quantity\":17"), "{body}");
}

#[test]
fn tokens_are_listed_abridged_and_can_be_revoked() {
    let node = TestNode::start();
    let token = node.token();
    let line = "POST /v1/oauth/authorizations";
    let (status, body) = node.api(line, &token, "", b"{\"description\": \"deploys\"}");
    assert_eq!(status, 201, "{body}");
    let made: Value = serde_json::from_str(&body).unwrap();
    let secret = made["access_token"]["token"].as_str().unwrap();
    assert_eq!(node.api("GET /v1/apps", secret, "", b"").0, 200);
    let (_, listed) = node.api("GET /v1/oauth/authorizations", &token, "", b"");
    assert!(listed.contains("deploys") && listed.contains("**********"));
    assert!(!listed.contains(secret) && !listed.contains(&token));
    let id = made["id"].as_str().unwrap();
    let revoke = format!("DELETE /v1/oauth/authorizations/{id}");
    assert_eq!(node.api(&revoke, &token, "", b"").0, 200);
    assert_eq!(node.api("GET /v1/apps", secret, "", b"").0, 401);
}

#[test]
fn login_finds_the_socket_in_the_data_directory() {
    let node = TestNode::start();
    let data = node.data().display().to_string();
    let login = node.cli(&["login", "--data-dir", &data]);
    assert!(login.success, "{}", login.text);
    let wrong = node.cli(&["login", "--data-dir", "/nonexistent"]);
    assert!(
        !wrong.success && wrong.text.contains("--token-stdin"),
        "{}",
        wrong.text
    );
}

#[test]
fn invalid_log_directive_is_named_when_the_server_starts() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Command::new(corundum());
    server.args(["server", "--data-dir"]).arg(data.path());
    let output = ProcessOutput::of(server.env("CORUNDUM_LOG", "wran"));
    assert!(
        !output.success && output.text.contains("invalid directive \"wran\""),
        "{}",
        output.text
    );
}

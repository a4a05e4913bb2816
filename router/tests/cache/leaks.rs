//! Isolation: the cache never serves a response that was made for another client.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use corundum_abi::names::ReleaseVersion;
use corundum_router_test_support::grid::{AppResponse, FakeApp, app};
use corundum_router_test_support::router::TestRouter;

/// Each response is for one client and must not be served to another.
#[tokio::test]
async fn private_responses_are_never_stored() {
    for headers in [
        &[
            ("Set-Cookie", "session=1"),
            ("Cache-Control", "public, max-age=60"),
        ][..],
        &[("Cache-Control", "private, max-age=60")],
        &[("Cache-Control", "no-store, max-age=60")],
        &[("Cache-Control", "max-age=60"), ("Vary", "*")],
        &[
            ("Surrogate-Control", "no-store"),
            ("Cache-Control", "max-age=60"),
        ],
        &[
            ("CDN-Cache-Control", "private"),
            ("Cache-Control", "max-age=60"),
        ],
        &[
            ("ETag", "\"a\""),
            ("Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT"),
        ],
    ] {
        let router = TestRouter::with_app(app(|_| AppResponse::new(200, headers, "mine"))).await;
        for asked in 1..=3 {
            assert_eq!(router.get("/").await.x_cache(), "MISS", "{headers:?}");
            assert_eq!(router.requests(), asked, "{headers:?}");
        }
    }
}

#[tokio::test]
async fn responses_to_authorized_requests_are_shared_only_if_marked() {
    for (cache_control, first, second) in [
        ("max-age=60", "", "bob"),
        ("max-age=60, public", "alice", "alice"),
        ("s-maxage=60", "alice", "alice"),
        // RFC 9111 section 3.5 allows sharing here, but apps rarely mean it: only the response without authorization is shared.
        ("max-age=60, must-revalidate", "", ""),
    ] {
        let router = TestRouter::with_app(app(move |asked| {
            let body = asked.get("HTTP_AUTHORIZATION");
            AppResponse::new(200, &[("Cache-Control", cache_control)], &body)
        }))
        .await;
        let alice = router.get_with("/", &[("Authorization", "alice")]).await;
        let nobody = router.get("/").await;
        let bob = router.get_with("/", &[("Authorization", "bob")]).await;
        let bodies = [alice.body.as_str(), nobody.body.as_str(), bob.body.as_str()];
        assert_eq!(bodies, ["alice", first, second], "{cache_control}");
    }
}

#[tokio::test]
async fn variants_are_stored_separately() {
    let router = TestRouter::with_app(app(|asked| {
        let body = format!("{}/{}", asked.get("HTTP_COOKIE"), asked.get("HTTP_X_B"));
        AppResponse::new(
            200,
            &[("Cache-Control", "max-age=60"), ("Vary", "Cookie, X-B")],
            &body,
        )
    }))
    .await;
    for round in 0..2 {
        for (cookie, b) in [("a=1", "2"), ("a=12", ""), ("a=1", ""), ("", "a=1")] {
            let headers = [("Cookie", cookie), ("X-B", b)];
            let got = router.get_with("/", &headers).await;
            assert_eq!(got.body, format!("{cookie}/{b}"));
            assert_eq!(got.x_cache(), if round == 0 { "MISS" } else { "HIT" });
        }
    }
}

#[tokio::test]
async fn apps_hosts_ports_and_releases_share_nothing() {
    let router = TestRouter::with_app(app(|asked| {
        AppResponse::page(&format!("{} {}", asked.app, asked.get("HTTP_HOST")))
    }))
    .await;
    for host in ["one.example", "two.example", "one.other", "one.example:81"] {
        for x_cache in ["MISS", "HIT"] {
            let got = router.get_with("/", &[("Host", host)]).await;
            let name = host.split('.').next().unwrap();
            assert_eq!(
                (got.body.as_str(), got.x_cache()),
                (format!("{name} {host}").as_str(), x_cache)
            );
        }
    }
    assert_eq!(
        router
            .get_with("/", &[("Host", "ONE.example")])
            .await
            .x_cache(),
        "HIT"
    );
    router
        .grid
        .configure(|app| app.release = Some((ReleaseVersion(2), None)));
    assert_eq!(
        router
            .get_with("/", &[("Host", "one.example")])
            .await
            .x_cache(),
        "MISS"
    );
    router
        .grid
        .configure(|app| app.release = Some((ReleaseVersion(1), None)));
    assert_eq!(
        router
            .get_with("/", &[("Host", "one.example")])
            .await
            .x_cache(),
        "HIT"
    );
}

#[tokio::test]
async fn no_cache_responses_are_revalidated_only_for_clients_without_cookies() {
    let router = TestRouter::with_app(app(|asked| {
        let cookie = asked.get("HTTP_COOKIE");
        let etag = format!("\"{cookie}\"");
        if asked.get("HTTP_IF_NONE_MATCH") == etag {
            return AppResponse::new(304, &[("ETag", &etag), ("Cache-Control", "no-cache")], "");
        }
        AppResponse::new(
            200,
            &[("ETag", &etag), ("Cache-Control", "no-cache")],
            &cookie,
        )
    }))
    .await;
    assert_eq!(router.get("/").await.body, "");
    assert_eq!(router.get("/").await.x_cache(), "REVALIDATED");
    let alice = router.get_with("/", &[("Cookie", "alice")]).await;
    assert_eq!((alice.body.as_str(), alice.x_cache()), ("alice", "BYPASS"));
    assert_eq!(router.get("/").await.body, "");
}

#[tokio::test]
async fn a_get_request_with_a_body_is_not_stored() {
    let router = TestRouter::with_app(app(|asked| {
        AppResponse::page(&String::from_utf8_lossy(&asked.body))
    }))
    .await;
    assert_eq!(router.send("GET", "/", &[], "evil").await.body, "evil");
    assert_eq!(router.get("/").await.body, "");
}

/// Header fields that change the responses of common frameworks and apps, beside which any name is tried.
const UNKEYED: [&str; 26] = [
    "Cookie",
    "X-Forwarded-Host",
    "X-Forwarded-Server",
    "X-Forwarded-Scheme",
    "X-Forwarded-Proto",
    "X-Forwarded-Port",
    "X-Forwarded-For",
    "X-Forwarded-Prefix",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Host",
    "X-HTTP-Method-Override",
    "Forwarded",
    "Via",
    "X-Request-Id",
    "X-Request-Start",
    "Surrogate-Capability",
    "Range",
    "Accept",
    "Accept-Language",
    "Accept-Encoding",
    "User-Agent",
    "Referer",
    "X-Requested-With",
    "X-Sendfile-Type",
    "X-Accel-Mapping",
];

fn unkeyed() -> impl Strategy<Value = Vec<(String, String)>> {
    let known = proptest::sample::select(&UNKEYED[..]).prop_map(str::to_owned);
    let name = prop_oneof![known, "[A-Za-z][A-Za-z0-9-]{0,14}"];
    let framing = [
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "expect",
        "upgrade",
        "x-keyed",
    ];
    let name = name.prop_filter("a field that frames the request", move |name| {
        !framing.contains(&name.to_ascii_lowercase().as_str())
    });
    proptest::collection::vec((name, "[a-z0-9.=/-]{1,12}"), 1..5)
}

/// Makes an app that repeats the header fields of the request in a public response.
fn mirror() -> FakeApp {
    app(|asked| {
        let mut said: Vec<String> = asked
            .fields
            .keys()
            .filter(|name| {
                (name.starts_with("HTTP_") || *name == "CONTENT_TYPE")
                    && *name != "HTTP_X_FORWARDED_PORT"
            })
            // Times and request IDs of the router differ, so only their length is repeated.
            .map(|name| {
                let value = asked.get(name);
                match name.as_str() {
                    "HTTP_X_REQUEST_ID" | "HTTP_X_REQUEST_START" => {
                        format!("{name}={}", value.len())
                    }
                    _ => format!("{name}={value}"),
                }
            })
            .collect();
        said.push(asked.get("SERVER_PROTOCOL"));
        said.sort();
        AppResponse::new(
            200,
            &[("Cache-Control", "public, max-age=60"), ("Vary", "X-Keyed")],
            &said.join("\n"),
        )
    })
}

#[test]
fn unkeyed_headers_do_not_change_the_response_to_other_clients() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Config {
        cases: 64,
        failure_persistence: None,
        ..Config::default()
    });
    let attempts = proptest::collection::vec(unkeyed(), 1..4);
    let result = runner.run(&attempts, |attempts| {
        runtime.block_on(async {
            let (router, alone) = (
                TestRouter::with_app(mirror()).await,
                TestRouter::with_app(mirror()).await,
            );
            for headers in &attempts {
                let headers: Vec<(&str, &str)> = headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()))
                    .collect();
                router.get_with("/", &headers).await;
            }
            let (got, expected) = (router.get("/").await, alone.get("/").await);
            prop_assert_eq!((got.status, got.body), (expected.status, expected.body));
            // The first request after the attempts stored the shared response.
            let again = router.get("/").await;
            prop_assert_eq!(again.x_cache(), "HIT");
            Ok(())
        })
    });
    result.unwrap();
}

/// Returns what `get` sees: the answer of the app to the headers that reach it, and the result of the cache.
async fn got(router: &TestRouter, headers: &[(&str, &str)]) -> (String, String) {
    let got = router.get_with("/", headers).await;
    (got.body.clone(), got.x_cache().to_owned())
}

fn said(body: &str, x_cache: &str) -> (String, String) {
    (body.to_owned(), x_cache.to_owned())
}

#[tokio::test]
async fn a_browser_gets_its_own_response_first_and_shared_ones_after_it() {
    let browser = [
        ("User-Agent", "b"),
        ("Accept", "text/html"),
        ("Cookie", "a=1"),
    ];
    let router = TestRouter::with_app(app(|asked| {
        let seen = [asked.get("HTTP_USER_AGENT"), asked.get("HTTP_COOKIE")];
        AppResponse::page(&seen.concat())
    }))
    .await;
    // The first response may depend on the headers, so it is for this client alone.
    assert_eq!(got(&router, &browser).await, said("ba=1", "MISS"));
    assert_eq!(got(&router, &browser).await, said("", "MISS"));
    assert_eq!(got(&router, &browser).await, said("", "HIT"));
    assert_eq!(got(&router, &[]).await, said("", "HIT"));
    assert_eq!(router.requests(), 2);
}

#[tokio::test]
async fn a_response_that_varies_by_a_header_is_stored_with_the_second_request() {
    let router = TestRouter::with_app(app(|asked| {
        let body = asked.get("HTTP_X_REQUESTED_WITH");
        let headers = [
            ("Cache-Control", "public, max-age=60"),
            ("Vary", "X-Requested-With"),
        ];
        AppResponse::new(200, &headers, &body)
    }))
    .await;
    let browser = ("User-Agent", "b");
    let part = [browser, ("X-Requested-With", "XMLHttpRequest")];
    let page = [browser];
    assert_eq!(got(&router, &part).await, said("XMLHttpRequest", "MISS"));
    // The router knows by now that responses vary by this header.
    for x_cache in ["MISS", "HIT"] {
        assert_eq!(got(&router, &part).await, said("XMLHttpRequest", x_cache));
        assert_eq!(got(&router, &page).await, said("", x_cache));
    }
    assert_eq!(router.requests(), 3);
}

#[tokio::test]
async fn a_response_that_is_private_without_headers_reaches_each_client_as_its_own() {
    let router = TestRouter::with_app(app(|asked| {
        let key = asked.get("HTTP_X_API_KEY");
        match key.as_str() {
            "" => AppResponse::new(401, &[("Cache-Control", "no-store")], "who?"),
            key => AppResponse::page(key),
        }
    }))
    .await;
    for key in ["a", "b", "a", "c"] {
        let (body, x_cache) = got(&router, &[("X-Api-Key", key)]).await;
        assert_eq!((body.as_str(), x_cache.as_str()), (key, "MISS"));
    }
    assert_eq!(router.get("/").await.status, 401);
}

#[tokio::test]
async fn spellings_of_a_host_cannot_replace_the_page_of_another_client() {
    // A redirect to the canonical host that compares it case by case, as most do.
    let router = TestRouter::with_app(app(|asked| {
        let cached = ("Cache-Control", "public, max-age=60");
        match asked.get("HTTP_HOST").as_str() {
            "app.example" => AppResponse::new(200, &[cached], "home"),
            host => AppResponse::new(301, &[cached, ("Location", "http://app.example/")], host),
        }
    }))
    .await;
    for host in [
        "APP.example",
        "app.example.",
        "app.example:80",
        "App.Example.:0080",
        "app.example:",
    ] {
        let attack = router.get_with("/", &[("Host", host)]).await;
        assert_eq!(
            (attack.status, attack.body.as_str()),
            (200, "home"),
            "{host}"
        );
        let absolute = format!("http://{host}/");
        let attack = router.get_with(&absolute, &[("Host", "x")]).await;
        assert_eq!(
            (attack.status, attack.body.as_str()),
            (200, "home"),
            "{absolute}"
        );
    }
    assert_eq!(router.get("/").await.body, "home");
    assert_eq!(router.requests(), 1, "all have one key");
}

//! Checks that each resource has the fields of v3's schema, whatever their values.

use std::collections::BTreeMap;

use corundum_abi::names::ReleaseVersion;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::account::AccountResource;
use crate::app::AppResource;
use crate::authorization::{AccessToken, AuthorizationResource, AuthorizationUser};
use crate::build::{BuildResource, BuildStatus, SourceBlob};
use crate::domain::{DomainKind, DomainResource};
use crate::dyno::{DynoActivity, DynoResource};
use crate::formation::FormationResource;
use crate::log_drain::LogDrainResource;
use crate::log_session::LogSessionResource;
use crate::reference::{AppRef, NamedRef, ReleaseRef, UserRef};
use crate::release::{ReleaseResource, ReleaseStatus};
use crate::sni_endpoint::{CertificateOrigin, SniEndpointResource, SslCert};

const ID: Uuid = Uuid::nil();

fn time() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn app() -> AppRef {
    AppRef {
        id: ID,
        name: "demo".parse().unwrap(),
    }
}

fn named(name: &str) -> NamedRef {
    NamedRef {
        id: ID,
        name: name.to_owned(),
    }
}

fn user() -> UserRef {
    UserRef {
        id: ID,
        email: "me@example.com".to_owned(),
    }
}

/// Asserts that a resource serialises all of `fields`, a path of a nested one written with dots.
fn assert_fields(resource: &impl Serialize, fields: &str) {
    let value = serde_json::to_value(resource).unwrap();
    for field in fields.split_whitespace() {
        let pointer = format!("/{}", field.replace('.', "/"));
        assert!(value.pointer(&pointer).is_some(), "{field} in {value}");
    }
}

#[test]
fn an_app_has_all_fields_of_v3() {
    let resource = AppResource {
        id: ID,
        name: app().name,
        acm: false,
        archived_at: None,
        build_stack: named("corundum"),
        buildpack_provided_description: None,
        create_status: "complete".to_owned(),
        created_at: time(),
        generation: named("cedar"),
        git_url: String::new(),
        internal_routing: None,
        maintenance: false,
        organization: None,
        owner: user(),
        region: named("local"),
        released_at: None,
        repo_size: None,
        slug_size: None,
        space: None,
        stack: named("corundum"),
        team: None,
        updated_at: time(),
        web_url: None,
        formation: BTreeMap::new(),
        autoscale: None,
        release: None,
        ruby: None,
        language: None,
        series: None,
    };
    assert_fields(
        &resource,
        "acm archived_at buildpack_provided_description build_stack.id build_stack.name created_at generation.id \
         generation.name git_url id internal_routing maintenance name owner.email owner.id organization team region.id \
         region.name released_at repo_size slug_size space stack.id stack.name updated_at web_url create_status",
    );
    let text = serde_json::to_string(&resource).unwrap();
    assert!(
        text.contains("\"created_at\":\"2026-01-02T03:04:05Z\""),
        "{text}"
    );
}

#[test]
fn a_release_has_all_fields_of_v3() {
    let resource = ReleaseResource {
        id: ID,
        addon_plan_names: vec![],
        app: app(),
        artifacts: vec![],
        created_at: time(),
        current: true,
        description: String::new(),
        eligible_for_rollback: false,
        output_stream_url: None,
        slug: None,
        status: ReleaseStatus::Succeeded,
        updated_at: time(),
        user: user(),
        version: ReleaseVersion(2),
        commit: String::new(),
        ruby: Some("3.3".to_owned()),
        language: "ruby".to_owned(),
        series: "3.3".to_owned(),
    };
    assert_fields(
        &resource,
        "addon_plan_names artifacts app.name app.id created_at description id updated_at slug status user.id user.email \
         version current output_stream_url eligible_for_rollback",
    );
    let text = serde_json::to_string(&resource).unwrap();
    assert!(text.contains("\"version\":2"), "{text}");
}

#[test]
fn a_build_has_all_fields_of_v3() {
    let resource = BuildResource {
        id: ID,
        app: app(),
        buildpacks: vec![],
        builds_before: None,
        created_at: time(),
        generation: "cedar".to_owned(),
        output_stream_url: String::new(),
        release: None,
        slug: None,
        source_blob: SourceBlob::default(),
        stack: "corundum".to_owned(),
        status: BuildStatus::Pending,
        updated_at: time(),
        user: user(),
    };
    assert_fields(
        &resource,
        "app.id buildpacks created_at generation id output_stream_url source_blob.checksum source_blob.url \
         source_blob.version source_blob.version_description release slug stack status updated_at user.id user.email",
    );
}

#[test]
fn a_formation_and_a_dyno_have_all_fields_of_v3() {
    let formation = FormationResource {
        id: ID,
        app: app(),
        command: "rackup".to_owned(),
        created_at: time(),
        dyno_size: named("standard"),
        quantity: 1,
        size: "standard".to_owned(),
        process_type: "web".parse().unwrap(),
        updated_at: time(),
    };
    assert_fields(
        &formation,
        "app.name app.id command created_at dyno_size.id dyno_size.name id quantity size type updated_at",
    );
    let dyno = DynoResource {
        id: ID,
        app: app(),
        attach_url: None,
        command: "rackup".to_owned(),
        created_at: time(),
        name: "web.1".parse().unwrap(),
        release: ReleaseRef {
            id: ID,
            version: ReleaseVersion(1),
        },
        size: "standard".to_owned(),
        state: "up".to_owned(),
        process_type: "web".parse().unwrap(),
        updated_at: time(),
        activity: DynoActivity::Idle,
        age_seconds: 0,
        served: 0,
        memory_bytes: 0,
        linear_memory_bytes: 0,
        metrics: None,
    };
    assert_fields(
        &dyno,
        "attach_url command created_at id name release.id release.version app.name app.id size state type updated_at",
    );
}

#[test]
fn a_domain_and_a_certificate_have_all_fields_of_v3() {
    let domain = DomainResource {
        id: ID,
        acm_status: None,
        acm_status_reason: None,
        app: app(),
        cname: None,
        created_at: time(),
        hostname: "www.example.com".to_owned(),
        kind: DomainKind::Custom,
        sni_endpoint: None,
        status: "succeeded".to_owned(),
        updated_at: time(),
    };
    assert_fields(
        &domain,
        "acm_status acm_status_reason app.name app.id cname created_at hostname id kind updated_at status sni_endpoint",
    );
    let endpoint = SniEndpointResource {
        id: ID,
        app: app(),
        certificate_chain: String::new(),
        created_at: time(),
        display_name: None,
        domains: vec![],
        name: "amber-brook-12345".to_owned(),
        ssl_cert: Some(SslCert {
            id: ID,
            acm: false,
            ca_signed: true,
            cert_domains: vec![],
            expires_at: time(),
            issuer: String::new(),
            self_signed: false,
            starts_at: time(),
            subject: String::new(),
            serial: String::new(),
            fingerprint: String::new(),
            expired: false,
        }),
        updated_at: time(),
        origin: CertificateOrigin::Added,
        hosts: vec![],
    };
    assert_fields(
        &endpoint,
        "certificate_chain created_at id name updated_at display_name domains app.id app.name ssl_cert.ca_signed? \
         ssl_cert.cert_domains ssl_cert.expires_at ssl_cert.issuer ssl_cert.self_signed? ssl_cert.starts_at \
         ssl_cert.subject ssl_cert.id ssl_cert.acm",
    );
}

#[test]
fn logs_have_all_fields_of_v3() {
    let drain = LogDrainResource {
        id: ID,
        addon: None,
        app: Some(app()),
        created_at: time(),
        token: String::new(),
        updated_at: time(),
        url: String::new(),
    };
    assert_fields(&drain, "addon app created_at id token updated_at url");
    let session = LogSessionResource {
        id: ID,
        created_at: time(),
        logplex_url: String::new(),
        updated_at: time(),
    };
    assert_fields(&session, "created_at id logplex_url updated_at");
}

#[test]
fn an_account_and_its_tokens_have_all_fields_of_v3() {
    let account = AccountResource {
        id: ID,
        email: user().email,
        name: None,
        allow_tracking: false,
        beta: false,
        country_of_residence: None,
        created_at: time(),
        default_organization: None,
        default_team: None,
        delinquent_at: None,
        federated: false,
        identity_provider: None,
        last_login: None,
        sms_number: None,
        suspended_at: None,
        two_factor_authentication: false,
        updated_at: time(),
        verified: true,
    };
    assert_fields(
        &account,
        "allow_tracking beta created_at email federated id identity_provider last_login name sms_number suspended_at \
         delinquent_at two_factor_authentication updated_at verified country_of_residence default_organization \
         default_team",
    );
    let authorization = AuthorizationResource {
        id: ID,
        last_used_at: None,
        access_token: Some(AccessToken {
            id: ID,
            token: String::new(),
            expires_in: None,
        }),
        client: None,
        created_at: time(),
        description: String::new(),
        grant: None,
        refresh_token: None,
        scope: vec!["global".to_owned()],
        session: None,
        updated_at: time(),
        user: AuthorizationUser {
            id: ID,
            email: user().email,
            full_name: None,
        },
    };
    assert_fields(
        &authorization,
        "access_token.expires_in access_token.id access_token.token client created_at description grant id \
         refresh_token scope session updated_at user.id user.email user.full_name",
    );
}

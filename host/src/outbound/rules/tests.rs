//! The rules against the spellings and detours of an adversary.

use super::*;
use crate::account::{Account, Holding};
use crate::os::TmpLimits;
use crate::reserve::{AppShare, NodeReserve};

/// A dyno that asks the rules, with the names that it has resolved.
struct Asker {
    rules: OutboundRules,
    app: Arc<AppOutbound>,
    names: ResolvedNames,
    account: Arc<Account>,
}

fn targets(texts: &[&str]) -> Vec<OutboundTarget> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn policy(default: OutboundDefault, grants: &[&str]) -> OutboundPolicy {
    OutboundPolicy {
        default,
        grants: targets(grants),
        private: Vec::new(),
    }
}

impl Asker {
    fn new(list: Option<&[&str]>, policy: OutboundPolicy) -> Self {
        let app = AppOutbound::new(policy);
        let share = AppShare::new(NodeReserve::new(64 << 20));
        Self {
            rules: OutboundRules::new(list.map(targets), app.clone()),
            app,
            names: ResolvedNames::default(),
            account: Account::new(share, TmpLimits::default()),
        }
    }

    fn public(list: Option<&[&str]>, grants: &[&str]) -> Self {
        Self::new(list, policy(OutboundDefault::Public, grants))
    }

    /// Asks for a TCP connection; `None` is the permission.
    fn tcp(&self, address: &str) -> Option<RefusalReason> {
        self.ask(address, Transport::Tcp)
    }

    fn ask(&self, address: &str, transport: Transport) -> Option<RefusalReason> {
        let checked = self
            .rules
            .check(address.parse().unwrap(), transport, &self.names);
        checked.err().map(|refusal| refusal.reason)
    }

    fn line(&self, address: &str) -> String {
        let checked = self
            .rules
            .check(address.parse().unwrap(), Transport::Tcp, &self.names);
        checked.unwrap_err().to_string()
    }

    /// Resolves a name to these addresses and returns those that the dyno learns.
    fn resolve(&mut self, name: &str, answer: &[&str]) -> Result<Vec<String>, RefusalReason> {
        let resolved = self.rules.check_name(name).and_then(|name| {
            let answer: Vec<IpAddr> = answer.iter().map(|text| text.parse().unwrap()).collect();
            let admitted = self.rules.admitted(&name, &answer)?;
            let charge = || self.account.charge(Holding::Names);
            self.names.record(&name, &admitted, charge).unwrap();
            Ok(admitted.iter().map(ToString::to_string).collect())
        });
        resolved.map_err(|refusal| refusal.reason)
    }
}

#[test]
fn app_without_list_reaches_public_addresses_only() {
    let app = Asker::public(None, &[]);
    for public in [
        "1.1.1.1:443",
        "93.184.216.34:25",
        "[2606:4700::1111]:80",
        "[::ffff:1.1.1.1]:80",
    ] {
        assert_eq!(app.tcp(public), None, "{public}");
        assert_eq!(app.ask(public, Transport::Udp), None, "{public}");
    }
    for private in [
        "10.0.0.1:80",
        "172.16.0.1:80",
        "192.168.0.1:80",
        "100.64.0.1:80",
        "192.0.2.1:80",
        "198.18.0.1:80",
        "240.0.0.1:80",
        "0.1.2.3:80",
        "192.0.0.8:80",
        "[fc00::1]:80",
        "[fd12:3456::1]:80",
        "[2001:db8::1]:80",
        "[fec0::1]:80",
        "[::ffff:10.0.0.1]:80",
        "[::ffff:a00:1]:80",
    ] {
        assert_eq!(app.tcp(private), Some(RefusalReason::Private), "{private}");
    }
    for machine in [
        "127.0.0.1:80",
        "127.1.2.3:80",
        "[::1]:80",
        "[::ffff:127.0.0.1]:80",
        "169.254.169.254:80",
        "169.254.170.2:80",
        "100.100.100.200:80",
        "168.63.129.16:80",
        "192.0.0.192:80",
        "[fd00:ec2::254]:80",
        "[fd20:ce::254]:80",
        "[::ffff:169.254.169.254]:80",
        "[::ffff:a9fe:a9fe]:80",
        "[fe80::1]:80",
        "[fe80::1%2]:80",
        "[64:ff9b::7f00:1]:80",
        "[64:ff9b::1.1.1.1]:80",
        "[64:ff9b:1::a9fe:a9fe]:80",
        "[2002:7f00:1::]:80",
        "[2001:0:1:2::1]:80",
        "[::127.0.0.1]:80",
        "[::ffff:0:127.0.0.1]:80",
    ] {
        assert_eq!(app.tcp(machine), Some(RefusalReason::Machine), "{machine}");
    }
    for never in [
        "0.0.0.0:80",
        "[::]:80",
        "[::ffff:0.0.0.0]:80",
        "255.255.255.255:80",
        "224.0.0.251:5353",
        "[ff02::fb]:5353",
        "[::ffff:255.255.255.255]:80",
    ] {
        assert_eq!(app.tcp(never), Some(RefusalReason::Never), "{never}");
        assert_eq!(app.ask(never, Transport::Udp), Some(RefusalReason::Never));
    }
}

#[test]
fn list_bounds_names_ports_transports_and_addresses() {
    let list = [
        "https://api.example.com",
        "tcp://*.db.example:5432",
        "udp://1.0.0.1:53",
    ];
    let mut app = Asker::public(Some(&list), &[]);
    assert_eq!(app.tcp("93.184.216.34:443"), Some(RefusalReason::NotListed));
    app.resolve("API.Example.COM.", &["93.184.216.34", "2606:4700::1111"])
        .unwrap();
    assert_eq!(app.tcp("93.184.216.34:443"), None);
    assert_eq!(app.tcp("[2606:4700::1111]:443"), None);
    assert_eq!(app.tcp("[::ffff:93.184.216.34]:443"), None);
    assert_eq!(app.tcp("93.184.216.34:80"), Some(RefusalReason::NotListed));
    let udp = app.ask("93.184.216.34:443", Transport::Udp);
    assert_eq!(udp, Some(RefusalReason::NotListed));
    assert_eq!(app.tcp("93.184.216.35:443"), Some(RefusalReason::NotListed));
    app.resolve("one.db.example", &["93.184.216.36"]).unwrap();
    assert_eq!(app.tcp("93.184.216.36:5432"), None);
    assert_eq!(app.tcp("93.184.216.36:443"), Some(RefusalReason::NotListed));
    assert_eq!(app.ask("1.0.0.1:53", Transport::Udp), None);
    assert_eq!(app.tcp("1.0.0.1:53"), Some(RefusalReason::NotListed));
}

#[test]
fn names_outside_the_list_are_not_resolved() {
    let list = ["https://api.example.com", "https://*.s3.example"];
    let mut app = Asker::public(Some(&list), &[]);
    for name in [
        "secret.evil.example",
        "api.example.com.evil.example",
        "xapi.example.com",
        "s3.example",
        "localhost.evil.example",
        "xn--pi-6ma.example.com",
    ] {
        let refused = app.resolve(name, &["1.1.1.1"]);
        assert_eq!(refused, Err(RefusalReason::NotListed), "{name}");
    }
    for spelling in [
        "аpi.example.com",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1",
        "[::1]",
        "::1",
        "user@api.example.com",
        "api.example.com:443",
        "api.example.com\0.evil.example",
        "api.example.com/",
        "api.example.com..",
        "",
    ] {
        let refused = app.resolve(spelling, &["127.0.0.1"]);
        assert_eq!(refused, Err(RefusalReason::InvalidName), "{spelling}");
    }
    assert!(app.resolve("Api.EXAMPLE.com.", &["1.1.1.1"]).is_ok());
    assert!(app.resolve("a.b.s3.example", &["1.1.1.1"]).is_ok());
}

#[test]
fn private_answers_are_hidden_and_their_addresses_refused() {
    let mut app = Asker::public(None, &[]);
    let mixed = ["10.0.0.1", "1.1.1.1", "169.254.169.254"];
    assert_eq!(app.resolve("mixed.example", &mixed).unwrap(), ["1.1.1.1"]);
    assert_eq!(app.tcp("10.0.0.1:80"), Some(RefusalReason::Private));
    // A record of another name (CNAME) makes no difference: only addresses count.
    for (answer, reason) in [
        ("10.0.0.1", RefusalReason::Private),
        ("::ffff:192.168.0.1", RefusalReason::Private),
        ("169.254.169.254", RefusalReason::Machine),
        ("fd00:ec2::254", RefusalReason::Machine),
        ("64:ff9b::a00:1", RefusalReason::Machine),
        ("0.0.0.0", RefusalReason::Never),
        ("255.255.255.255", RefusalReason::Never),
    ] {
        let refused = app.resolve("metadata.evil.example", &[answer]);
        assert_eq!(refused, Err(reason), "{answer}");
    }
    // The loopback network is the dyno itself.
    assert_eq!(
        app.resolve("lvh.example", &["127.0.0.1"]).unwrap(),
        ["127.0.0.1"]
    );
    assert_eq!(
        app.resolve("none.example", &[]).unwrap(),
        Vec::<String>::new()
    );
}

#[test]
fn name_that_is_resolved_again_gives_no_other_address() {
    let mut app = Asker::public(Some(&["http://rebind.example"]), &[]);
    app.resolve("rebind.example", &["1.1.1.1"]).unwrap();
    assert_eq!(app.tcp("1.1.1.1:80"), None);
    for answer in ["127.0.0.2", "10.0.0.1", "169.254.169.254"] {
        let _ = app.resolve("rebind.example", &[answer]);
        assert!(app.tcp(&format!("{answer}:80")).is_some(), "{answer}");
    }
    assert_eq!(app.tcp("1.1.1.1:80"), None);
}

#[test]
fn grants_open_private_addresses_by_name_address_and_network() {
    let grants = [
        "tcp://db.internal:5432",
        "10.1.0.0/16",
        "tcp://192.168.0.5:6379",
    ];
    let mut app = Asker::public(Some(&["https://api.example.com"]), &grants);
    app.resolve("db.internal", &["10.9.9.9"]).unwrap();
    assert_eq!(app.tcp("10.9.9.9:5432"), None);
    assert_eq!(app.tcp("10.9.9.9:22"), Some(RefusalReason::Private));
    assert_eq!(app.tcp("10.9.9.8:5432"), Some(RefusalReason::Private));
    assert_eq!(app.tcp("10.1.2.3:22"), None);
    assert_eq!(app.tcp("[::ffff:10.1.2.3]:22"), None);
    assert_eq!(app.ask("10.1.2.3:53", Transport::Udp), None);
    assert_eq!(app.tcp("192.168.0.5:6379"), None);
    assert_eq!(app.tcp("192.168.0.5:6380"), Some(RefusalReason::Private));
    // The owner of a granted name cannot lead the app to the machine or to metadata.
    for answer in ["169.254.169.254", "fe80::1", "64:ff9b::7f00:1"] {
        let refused = app.resolve("db.internal", &[answer]);
        assert_eq!(refused, Err(RefusalReason::Machine), "{answer}");
    }
}

#[test]
fn wide_grants_open_neither_machine_nor_metadata() {
    let app = Asker::public(None, &["*", "0.0.0.0/0", "::/0"]);
    assert_eq!(app.tcp("10.0.0.1:80"), None);
    assert_eq!(app.tcp("[fd00::1]:80"), None);
    for machine in [
        "127.0.0.1:80",
        "169.254.169.254:80",
        "168.63.129.16:80",
        "[fd00:ec2::254]:80",
        "[fe80::1]:80",
        "[64:ff9b::7f00:1]:80",
    ] {
        assert_eq!(app.tcp(machine), Some(RefusalReason::Machine), "{machine}");
    }
    let exact = Asker::public(None, &["tcp://169.254.169.254:80", "tcp://0.0.0.0:80"]);
    assert_eq!(exact.tcp("169.254.169.254:80"), None);
    assert_eq!(
        exact.tcp("169.254.169.254:81"),
        Some(RefusalReason::Machine)
    );
    assert_eq!(exact.tcp("0.0.0.0:80"), Some(RefusalReason::Never));
}

#[test]
fn own_addresses_need_a_grant_of_exactly_this_address() {
    // The machine's address towards the outside, if it has one; a machine without a network has only loopback ones.
    let Some(own) = outside_address() else {
        eprintln!("skipped: the machine has no address but loopback ones");
        return;
    };
    let endpoint = SocketAddr::new(own, 8081).to_string();
    for grants in [&[][..], &["*", "0.0.0.0/0", "::/0"]] {
        let app = Asker::public(None, grants);
        assert!(app.tcp(&endpoint).is_some(), "{endpoint} {grants:?}");
    }
    let name = ["tcp://node.example:8081"];
    let mut app = Asker::public(None, &name);
    let _ = app.resolve("node.example", &[&own.to_string()]);
    assert_eq!(app.tcp(&endpoint), Some(RefusalReason::Machine));
    let exact = OutboundTarget::of_address(own, 8081, Transport::Tcp).to_string();
    assert_eq!(Asker::public(None, &[&exact]).tcp(&endpoint), None);
    assert!(
        app.line(&endpoint)
            .ends_with(&format!("outbound:add {exact}"))
    );
}

/// Returns the address from which the machine would connect to another network. Nothing is sent.
fn outside_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_loopback() && !own.is_unspecified()).then_some(own)
}

#[test]
fn operator_can_demand_a_list_or_grants() {
    let listed = OutboundDefault::Listed;
    let none = Asker::new(None, policy(listed, &[]));
    assert_eq!(none.tcp("1.1.1.1:443"), Some(RefusalReason::NoList));
    let mut list = Asker::new(Some(&["https://a.example"]), policy(listed, &[]));
    list.resolve("a.example", &["1.1.1.1"]).unwrap();
    assert_eq!(list.tcp("1.1.1.1:443"), None);
    let granted = OutboundDefault::Granted;
    let any = Asker::new(Some(&["*"]), policy(granted, &["https://1.1.1.1"]));
    assert_eq!(any.tcp("1.1.1.2:443"), Some(RefusalReason::NotGranted));
    assert_eq!(any.tcp("1.1.1.1:443"), None);
    assert_eq!(
        any.rules.check_name("a.example").unwrap_err().reason,
        RefusalReason::NotGranted
    );
    let open = Asker::new(None, policy(granted, &["*"]));
    assert_eq!(open.tcp("1.1.1.2:25"), None);
    assert_eq!(open.tcp("10.0.0.1:25"), Some(RefusalReason::Private));
}

#[test]
fn empty_list_refuses_everything_but_grants() {
    let app = Asker::public(Some(&[]), &["https://1.1.1.1"]);
    assert_eq!(app.tcp("1.1.1.1:443"), None);
    assert_eq!(app.tcp("1.1.1.2:443"), Some(RefusalReason::NotListed));
    assert!(app.rules.check_name("a.example").is_err());
}

#[test]
fn networks_that_the_operator_declares_private_are_private() {
    let mut declared = policy(OutboundDefault::Public, &[]);
    declared.private = targets(&["93.184.216.0/24"]);
    let app = Asker::new(Some(&["*"]), declared);
    assert_eq!(app.tcp("93.184.216.34:443"), Some(RefusalReason::Private));
    assert_eq!(app.tcp("93.184.217.34:443"), None);
}

#[test]
fn changed_policy_applies_to_the_next_connection() {
    let app = Asker::public(None, &[]);
    assert_eq!(app.tcp("10.0.0.1:80"), Some(RefusalReason::Private));
    app.app
        .set(policy(OutboundDefault::Public, &["http://10.0.0.1"]));
    assert_eq!(app.tcp("10.0.0.1:80"), None);
    app.app.set(policy(OutboundDefault::Listed, &[]));
    assert_eq!(app.tcp("10.0.0.1:80"), Some(RefusalReason::Private));
    assert_eq!(app.tcp("1.1.1.1:80"), Some(RefusalReason::NoList));
}

#[test]
fn loopback_of_the_node_needs_a_grant_of_the_endpoint() {
    let reaches = |app: &Asker, address: &str| {
        app.rules
            .reaches_node_loopback(address.parse().unwrap(), Transport::Tcp)
    };
    let app = Asker::public(
        Some(&["tcp://127.0.0.1:5432"]),
        &["tcp://127.0.0.1:6379", "0.0.0.0/0"],
    );
    assert!(reaches(&app, "127.0.0.1:6379"));
    assert_eq!(app.tcp("127.0.0.1:6379"), None);
    for other in [
        "127.0.0.1:5432",
        "127.0.0.2:6379",
        "[::1]:6379",
        "10.0.0.1:6379",
    ] {
        assert!(!reaches(&app, other), "{other}");
    }
}

#[test]
fn refusal_names_the_line_to_add() {
    let mut app = Asker::public(Some(&["https://a.example"]), &[]);
    assert_eq!(
        app.line("1.1.1.1:587"),
        "outbound connection to 1.1.1.1:587 refused: the app's list does not have it; \
         add \"tcp://1.1.1.1:587\" to \"outbound\" in app.json"
    );
    app.resolve("a.example", &["1.1.1.1"]).unwrap();
    assert!(app.line("1.1.1.1:80").contains("add \"http://a.example\""));
    assert!(
        app.line("[::ffff:10.0.0.1]:80")
            .ends_with("corundum outbound:add http://10.0.0.1")
    );
    let no_list = Asker::new(None, policy(OutboundDefault::Listed, &[]));
    assert!(
        no_list
            .line("1.1.1.1:443")
            .ends_with("add \"outbound\": [\"https://1.1.1.1\"] to app.json")
    );
    let lookup = app.rules.check_name("b.example").unwrap_err().to_string();
    assert!(
        lookup.starts_with("outbound look-up of b.example refused"),
        "{lookup}"
    );
    assert!(lookup.contains("add \"https://b.example\""), "{lookup}");
}

#[test]
fn closed_rules_refuse_everything() {
    let closed = OutboundRules::closed();
    let names = ResolvedNames::default();
    for address in ["1.1.1.1:443", "127.0.0.1:80", "[2606:4700::1111]:443"] {
        assert!(
            closed
                .check(address.parse().unwrap(), Transport::Tcp, &names)
                .is_err()
        );
    }
    assert!(closed.check_name("a.example").is_err());
}

//! Pages in a browser: those of other sites reach neither cloud nor proxy, however they ask, and a
//! name that was rebound is not ours. With a real Chromium.

use crate::support::browser::names::{FOREIGN, known_as};
use crate::support::browser::pages::Pages;
use crate::support::browser::{Visit, is_here};
use crate::support::certificates::{Authority, Key};
use crate::support::device::{Outside, PROGRAM};
use crate::support::service::{Service, Setup};

/// What the cloud echoes, WebSockets too.
const ECHO: &str = "/c8y/service/echo";

/// Where `host` leads to the cloud through a proxy.
fn echo(proxy: &Service, host: &str) -> String {
    format!("{}://{host}:{}{ECHO}", proxy.scheme, proxy.address.port())
}

fn start(outside: &Outside, configure: impl FnOnce(&mut Setup)) -> Service {
    Service::start(PROGRAM, |setup| {
        outside.settings(setup);
        configure(setup);
    })
}

/// Has a proxy serve over TLS, as these names.
fn secure(setup: &mut Setup, names: Option<&str>) -> Authority {
    let authority = Authority::new(setup.directory(), "local-ca");
    let pair = match names {
        Some(names) => authority.server_for("proxy", names),
        None => authority.server("proxy", Key::P256),
    };
    setup.set("c8y.proxy.cert_path", pair.cert);
    setup.set("c8y.proxy.key_path", pair.key);
    authority
}

#[test]
fn pages_of_other_sites_are_refused_whatever_they_try() {
    if !is_here() {
        return;
    }
    let outside = Outside::new();
    let plain = start(&outside, |_| {});
    let secured = start(&outside, |setup| drop(secure(setup, None)));
    let mutual = start(&outside, |setup| {
        let authority = secure(setup, None);
        setup.set("c8y.proxy.ca_path", &authority.cert);
    });
    let targets =
        [echo(&plain, "localhost"), echo(&plain, "127.0.0.1"), echo(&secured, "localhost")];
    let visit = Visit::of_strangers(&targets, &[echo(&mutual, "localhost")]);
    visit.assert_refused(403);
    assert!(outside.cloud.seen().requests.is_empty(), "{:#?}", outside.cloud.seen());
}

#[test]
fn a_page_whose_name_was_rebound_is_refused_whatever_it_tries() {
    if !is_here() {
        return;
    }
    let (outside, pages) = (Outside::new(), Pages::serve());
    let (visit, _proxy) = Visit::rebound(&pages, ECHO, |port| {
        start(&outside, |setup| setup.set_raw("c8y.proxy.bind.port", port))
    });
    visit.assert_refused(421);
    assert_eq!(visit.outcomes["refused-get"], "basic 421");
    assert!(outside.cloud.seen().requests.is_empty(), "{:#?}", outside.cloud.seen());
}

#[test]
fn a_page_of_an_allowed_origin_is_answered_on_every_name_of_ours() {
    if !is_here() {
        return;
    }
    let (outside, pages) = (Outside::new(), Pages::serve());
    let mut names = Vec::new();
    let plain = start(&outside, |setup| names = known_as(setup, "c8y.proxy", &pages));
    let secured = start(&outside, |setup| {
        known_as(setup, "c8y.proxy", &pages);
        secure(setup, Some("DNS:localhost,DNS:san.example"));
    });
    let mut ours: Vec<_> = names.iter().map(|name| echo(&plain, name)).collect();
    ours.extend(names.iter().chain(&["san.example"]).map(|name| echo(&secured, name)));
    let foreign: Vec<_> = FOREIGN.iter().map(|name| echo(&plain, name)).collect();
    let visit = Visit::of_a_friend(&pages, &ours, &foreign);
    for (number, url) in ours.iter().enumerate() {
        let seen = |kind: &str| visit.outcomes[&format!("ours{number}-{kind}")].as_str();
        let kinds = ["put", "get", "delete"].map(seen);
        assert_eq!(kinds, ["cors 200"; 3], "{url}");
        assert_eq!(seen("websocket"), "open", "{url}");
    }
    visit.assert_refused(421);
}

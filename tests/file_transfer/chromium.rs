//! Pages in a browser: those of other sites are refused, however they ask, and a name that was
//! rebound is not ours. With a real Chromium.

use crate::support::browser::names::{FOREIGN, known_as};
use crate::support::browser::pages::Pages;
use crate::support::browser::{Visit, is_here};
use crate::support::service::Service;
use crate::{FILES, Secured, assert_stored, curl, start};

/// Where `host` leads to the files of a service.
fn files(service: &Service, host: &str) -> String {
    format!("{}://{host}:{}{FILES}", service.scheme, service.address.port())
}

#[test]
fn pages_of_other_sites_are_refused_whatever_they_try() {
    if !is_here() {
        return;
    }
    let plain = start(|_| {});
    curl(&plain, "kept").put("kept").answer();
    let secured = Secured::start(|_, _| {});
    let mutual = Secured::start(|setup, authority| setup.set("http.ca_path", &authority.cert));
    let targets = [
        files(&plain, "localhost"),
        files(&plain, "127.0.0.1"),
        files(&secured.service, "localhost"),
    ];
    let visit = Visit::of_strangers(&targets, &[files(&mutual.service, "localhost")]);
    visit.assert_refused(403);
    assert_stored(&plain, &[("kept", b"kept")]);
    assert_stored(&secured.service, &[]);
    assert_stored(&mutual.service, &[]);
}

#[test]
fn a_page_whose_name_was_rebound_is_refused_whatever_it_tries() {
    if !is_here() {
        return;
    }
    let pages = Pages::serve();
    let (visit, service) =
        Visit::rebound(&pages, FILES, |port| start(|setup| setup.set_raw("http.bind.port", port)));
    visit.assert_refused(421);
    assert_eq!(visit.outcomes["refused-get"], "basic 421");
    assert_stored(&service, &[]);
}

#[test]
fn a_page_of_an_allowed_origin_is_answered_on_every_name_of_ours() {
    if !is_here() {
        return;
    }
    let pages = Pages::serve();
    let mut names = Vec::new();
    let plain = start(|setup| names = known_as(setup, "http", &pages));
    let secured = Secured::start(|setup, authority| {
        known_as(setup, "http", &pages);
        let pair = authority.server_for("named", "DNS:localhost,DNS:san.example");
        setup.set("http.cert_path", pair.cert);
        setup.set("http.key_path", pair.key);
    });
    let mut ours: Vec<_> = names.iter().map(|name| files(&plain, name)).collect();
    ours.extend(names.iter().chain(&["san.example"]).map(|name| files(&secured.service, name)));
    let foreign: Vec<_> = FOREIGN.iter().map(|name| files(&plain, name)).collect();
    let visit = Visit::of_a_friend(&pages, &ours, &foreign);
    for (number, url) in ours.iter().enumerate() {
        let seen = |kind: &str| visit.outcomes[&format!("ours{number}-{kind}")].as_str();
        assert_eq!(
            [seen("put"), seen("get"), seen("delete")],
            ["cors 201", "cors 404", "cors 202"],
            "{url}"
        );
    }
    visit.assert_refused(421);
}

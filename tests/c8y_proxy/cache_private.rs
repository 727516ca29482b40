//! What belongs to one client is not served to others: answers to its own credentials, answers that
//! the cloud marks as private, and what the access rules keep from other clients.

use super::access::demand_certificates;
use crate::support::cached::{
    self, CacheStatus, LENGTH, PATH, assert_all, begin, get, get_settled, get_with, read, request,
};
use crate::support::certificates::Key;
use crate::support::client::{Client, tls};
use crate::support::cloud::artifact::Artifact;
use crate::support::cloud::{Cloud, Gate, Script};
use crate::support::device::{Device, Outside, SOON, options};

// base64 of t12345/ben:secret and of t12345/ben:wrong
const GOOD: &str = "Authorization: Basic dDEyMzQ1L2JlbjpzZWNyZXQ=\r\n";
const BAD: &str = "Authorization: Basic dDEyMzQ1L2Jlbjp3cm9uZw==\r\n";

/// A device whose cloud knows somebody by a password.
fn device() -> Device {
    let mut options = options();
    options.user = Some(("t12345/ben".into(), "secret".into()));
    let outside = Outside::with(Cloud::start(options).unwrap());
    let device = Device::among(outside, cached::keep);
    device.warm();
    device
}

#[test]
fn a_clients_own_authorization_neither_fills_nor_reads() {
    let device = device();
    let artifact = Artifact::new(1, LENGTH);
    device.cloud().serve(PATH, &artifact);
    // It does not fill.
    let answer = get_with(&device, PATH, GOOD);
    assert_all(&answer, &artifact);
    let status = CacheStatus::of(&answer);
    assert!(matches!(status.fwd.as_deref(), Some("bypass" | "request")), "{status:?}");
    assert!(cached::taken(&device) < LENGTH, "it was kept");
    assert_all(&get_settled(&device, PATH), &artifact);
    assert_eq!(device.cloud().sent(PATH), 2 * LENGTH);
    // It does not read from the cache, and does not learn whether there is an entry.
    device.cloud().forget();
    assert_all(&get_with(&device, PATH, GOOD), &artifact);
    let seen = device.cloud().requests(PATH);
    assert_eq!((seen.len(), seen[0].sent), (1, LENGTH));
    assert_eq!(seen[0].all("authorization"), [&b"Basic dDEyMzQ1L2JlbjpzZWNyZXQ="[..]]);
    assert_eq!((seen[0].field("if-none-match"), seen[0].bearer()), (None, None));
    // It is refused, and the clients that are allowed still get the entry.
    device.cloud().forget();
    assert_eq!(get_with(&device, PATH, BAD).status, 401);
    assert_eq!(get_with(&device, PATH, "Authorization: \r\n").status, 401);
    assert_all(&get(&device, PATH), &artifact);
    // Not more than what the cloud says of a bad password.
    assert!(device.cloud().sent(PATH) < 2000);
    // Nor does its condition or its part come from here.
    for fields in ["If-None-Match: \"version-1\"\r\n", "Range: bytes=0-9\r\n"] {
        assert_eq!(get_with(&device, PATH, &format!("{fields}{BAD}")).status, 401);
    }
}

#[test]
fn a_clients_own_authorization_does_not_follow_a_download() {
    let device = device();
    let (gate, artifact) = (Gate::default(), Artifact::new(1, LENGTH));
    device.cloud().serve(PATH, &artifact.clone().gated(500_000, &gate));
    let (mut first, _) = begin(&device, PATH, "");
    assert_eq!(get_with(&device, PATH, BAD).status, 401);
    let (mut own, head) = begin(&device, PATH, GOOD);
    assert!(!CacheStatus::of(&head).is_collapsed);
    // And nobody follows it.
    device
        .cloud()
        .wait(SOON, |seen| seen.requests.iter().filter(|r| r.sent >= 500_000).count() == 2);
    gate.open();
    for client in [&mut first, &mut own] {
        cached::assert_bytes(&read(client, LENGTH), &artifact, 0);
    }
}

#[test]
fn what_says_no_store_or_private_is_not_kept() {
    let device = device();
    for (number, said) in [
        "Cache-Control: no-store",
        "Cache-Control: max-age=60, No-Store",
        "Cache-Control: max-age=60\r\nCache-Control: private",
        "cache-control: PRIVATE",
        "Cache-Control: private=\"x\"",
        "Cache-Control: no-store;",
        "Cache-Control: max-age=1 no-store",
        "Cache-Control: \"a,b\"=1,private",
        "Vary: *",
        "Vary: Accept\r\nVary: *",
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/inventory/binaries/{number}");
        let artifact = Artifact::new(1, LENGTH).field(*said);
        device.cloud().serve(&path, &artifact);
        for _ in 0..2 {
            let answer = get(&device, &path);
            assert_all(&answer, &artifact);
            assert!(!CacheStatus::of(&answer).is_stored, "{said}");
        }
        let seen = device.cloud().requests(&path);
        assert_eq!(device.cloud().sent(&path), 2 * LENGTH, "{said}");
        assert!(seen.iter().all(|r| r.field("if-none-match").is_none()), "{said}: {seen:?}");
    }
    assert!(cached::taken(&device) < LENGTH, "{:?}", cached::files(&cached::directory(&device)));
    // And what only sounds like it is.
    for (number, said) in
        ["Cache-Control: no-cache", "Cache-Control: max-age=0, x-private-y"].iter().enumerate()
    {
        let path = format!("/inventory/binaries/9{number}");
        let artifact = Artifact::new(1, LENGTH).field(*said);
        device.cloud().serve(&path, &artifact);
        assert_all(&get_settled(&device, &path), &artifact);
        assert_all(&get(&device, &path), &artifact);
        assert_eq!(device.cloud().sent(&path), LENGTH, "{said}");
    }
}

#[test]
fn what_says_no_store_when_it_is_resumed_is_not_kept() {
    let device = device();
    let (bytes, half) = (Artifact::new(1, LENGTH).bytes(), 500_000);
    let head = "ETag: \"version-1\"\r\nContent-Length:";
    let first = format!("HTTP/1.1 200 OK\r\n{head} {LENGTH}\r\n\r\n");
    let (rest, last) = (bytes.len() - half, LENGTH - 1);
    let second = format!(
        "HTTP/1.1 206 Partial Content\r\nCache-Control: no-store\r\n\
         Content-Range: bytes {half}-{last}/{LENGTH}\r\n{head} {rest}\r\n\r\n"
    );
    let first = Script::new().send(first).send(&bytes[..half]).break_off();
    device.cloud().answer(PATH, first.once());
    device.cloud().answer(PATH, Script::new().send(second).send(&bytes[half..]).once());
    assert_all(&get_settled(&device, PATH), &Artifact::new(1, LENGTH));
    assert_eq!(cached::entries(&device), 0);
}

#[test]
fn private_answers_are_not_shared_while_they_come() {
    let device = device();
    let (gate, artifact) = (Gate::default(), Artifact::new(1, LENGTH));
    let private = artifact.clone().field("Cache-Control: private").gated(500_000, &gate);
    device.cloud().serve(PATH, &private);
    let mut clients: Vec<_> = (0..3).map(|_| device.connect()).collect();
    for client in &mut clients {
        client.send(request("GET", PATH, "")).unwrap();
    }
    // Each has a download of its own.
    device.cloud().wait(SOON, |seen| {
        seen.requests.iter().filter(|request| request.sent >= 500_000).count() == 3
    });
    gate.open();
    for client in &mut clients {
        assert_all(&client.answer(), &artifact);
    }
}

#[test]
fn a_client_that_says_no_store_leaves_nothing() {
    let device = device();
    let artifact = Artifact::new(1, LENGTH);
    device.cloud().serve(PATH, &artifact);
    assert_all(&get_with(&device, PATH, "Cache-Control: no-store\r\n"), &artifact);
    assert!(cached::taken(&device) < LENGTH, "it was kept");
}

#[test]
fn other_paths_and_methods_are_not_kept() {
    let device = device();
    let artifact = Artifact::new(1, LENGTH);
    for path in [
        "/inventory/managedObjects/4711/childAdditions",
        "/inventory/binaries/4711/more",
        "/inventory/binaries/",
        "/inventory/binaries",
        "/service/firmware/4711",
        "/event/events/42/binaries/x",
        "/event/events//binaries",
    ] {
        device.cloud().serve(path, &artifact);
        for _ in 0..2 {
            assert_all(&get_settled(&device, path), &artifact);
        }
        assert_eq!(device.cloud().sent(path), 2 * LENGTH, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        device.ask(request(method, PATH, "Content-Length: 0\r\n"));
    }
    assert!(cached::taken(&device) < LENGTH, "{:?}", cached::files(&cached::directory(&device)));
}

#[test]
fn more_paths_are_kept_where_the_setting_names_them() {
    let device = cached::start_with(|setup| {
        let paths = "[\"/service/firmware/*/image\", \"/service/all/\"]";
        setup.set_own("c8y.proxy.cache.paths", paths);
    });
    device.warm();
    let artifact = Artifact::new(1, LENGTH);
    for (path, is_kept) in [
        ("/service/firmware/7/image", true),
        ("/service/firmware/7/8/image", false),
        ("/service/firmware/7/image/x", false),
        ("/service/firmware/7/images", false),
        ("/service/all/a", true),
        ("/service/all/a/b/c", true),
        ("/service/allx", false),
        ("/service/all/../b", false),
        ("/service/all/%2e%2e/b", false),
        (PATH, true),
    ] {
        device.cloud().serve(path, &artifact);
        for _ in 0..2 {
            assert_all(&get_settled(&device, path), &artifact);
        }
        assert_eq!(device.cloud().sent(path) == LENGTH, is_kept, "{path}");
    }
}

#[test]
fn one_spelling_is_never_served_for_another() {
    let device = device();
    let paths = [
        "/inventory/binaries/1",
        "/inventory/binaries/01",
        "/inventory/binaries/%31",
        "/inventory/binaries/1;v=2",
        "/inventory/binaries/1%2F",
        "/event/events/1/binaries",
    ];
    for round in 0..2 {
        for (number, path) in paths.iter().enumerate() {
            let artifact = Artifact::new(number as u64 + 1, LENGTH);
            if round == 0 {
                device.cloud().serve(path, &artifact);
            }
            assert_all(&get(&device, path), &artifact);
        }
    }
    // A query may mean something else, and is asked for.
    device.cloud().forget();
    get(&device, "/inventory/binaries/1?x=y");
    let seen = device.cloud().seen().requests;
    assert!(seen.iter().any(|r| r.target() == b"/inventory/binaries/1?x=y"), "{seen:?}");
}

#[test]
fn rules_of_access_hold_for_what_is_here() {
    const RULES: &str = "[[rule]]\nwho = \"child1\"\nmay = [\"GET\"]\n\
        below = \"/inventory/binaries/\"\n[[rule]]\nwho = \"child2\"\nmay = [\"GET\"]\n\
        exactly = \"/inventory/binaries/1\"\n";
    let mut made = None;
    let device = cached::start_with(|setup| made = Some(demand_certificates(setup, RULES)));
    let authority = made.unwrap();
    let connect = |name: &str| {
        let config = tls(&authority.cert, Some(&authority.client(name, Key::P256)));
        Client::connect_tls(device.proxy.address, &config).unwrap()
    };
    let (gate, artifact) = (Gate::default(), Artifact::new(1, LENGTH));
    device.cloud().serve(PATH, &artifact.clone().gated(500_000, &gate));
    let (mut one, mut two) = (connect("child1"), connect("child2"));
    one.send(request("GET", PATH, "")).unwrap();
    one.head();
    let asked = device.cloud().seen().requests.len();
    for fields in ["", "Range: bytes=0-9\r\n", "If-None-Match: \"version-1\"\r\n"] {
        // While it comes, and once it is here.
        assert_eq!(two.exchange(request("GET", PATH, fields)).status, 403, "{fields}");
    }
    gate.open();
    cached::assert_bytes(&read(&mut one, LENGTH), &artifact, 0);
    for fields in ["", "Range: bytes=0-9\r\n", "If-None-Match: \"version-1\"\r\n"] {
        let answer = two.exchange(request("GET", PATH, fields));
        assert_eq!(answer.status, 403, "{fields}");
        assert_eq!(answer.values("etag"), [&b""[..]; 0]);
        for part in ["/inventory/binaries/1/../4711", "/inventory/binaries/%34711"] {
            assert_eq!(two.exchange(request("GET", part, fields)).status, 403, "{part}");
        }
    }
    assert_eq!(device.cloud().seen().requests.len(), asked, "the cloud was asked");
    // HEAD is another method.
    let mut again = connect("child1");
    again.send(request("HEAD", PATH, "")).unwrap();
    assert_eq!(again.answer_to("HEAD").unwrap().status, 403);
    assert_all(&connect("child1").exchange(request("GET", PATH, "")), &artifact);
}

//! A real browser, headless, with a profile of its own; it reaches nothing but this machine.

pub(crate) mod names;
pub(crate) mod pages;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use self::pages::Pages;
use super::directory::Directory;

/// What the tests run: Debian's Chromium.
const PROGRAM: &str = "chromium";

/// How many attempts a page makes.
const KINDS: usize = 9;

/// A running browser.
pub(crate) struct Browser {
    child: Child,
    directory: Directory,
}

/// A request of the browser's, and what the server said to it.
pub(crate) struct Request {
    pub(crate) url: String,
    pub(crate) method: String,
    /// None where there was no answer, or no connection.
    pub(crate) status: Option<u16>,
}

impl Browser {
    /// Opens a page. Names below `.example` lead to this machine, as do those of [`names`]; others
    /// lead nowhere.
    pub(crate) fn open(url: &str) -> Self {
        let directory = Directory::new();
        let own = |name: &str| directory.path().join(name).display().to_string();
        let here = ["*.example", "*.localhost", "box"].iter().chain(names::OURS);
        let mut rules: Vec<_> = here.map(|name| format!("MAP {name} 127.0.0.1")).collect();
        rules.push("MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1, EXCLUDE ::1".to_owned());
        // It ends, with its log whole, when the pipe that is its descriptor 3 is closed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "sh", "-c", "exec \"$0\" \"$@\" 3<&0 4>&1", PROGRAM])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--disable-quic", "--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--remote-debugging-pipe"])
            // Whatever the environment says.
            .arg("--no-proxy-server")
            // As somebody who trusts every certificate: what is tested is not the browser.
            .arg("--ignore-certificate-errors")
            .arg(format!("--user-data-dir={}", own("profile")))
            .arg(format!("--host-resolver-rules={}", rules.join(", ")))
            .arg(format!("--log-net-log={}", own("log")))
            .args(["--net-log-capture-mode=Everything", url])
            .env("HOME", directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, directory }
    }

    /// Closes it; returns the requests that it made, in order.
    pub(crate) fn close(mut self) -> Vec<Request> {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
        requests(&fs::read_to_string(self.directory.path().join("log")).unwrap())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// What pages saw of their attempts, and what the browser asked servers for them.
pub(crate) struct Visit {
    /// By the tag of the page and the kind of the attempt, with a hyphen between.
    pub(crate) outcomes: BTreeMap<String, String>,
    requests: Vec<Request>,
}

impl Visit {
    /// Has a browser open these pages side by side, each of which reports once.
    pub(crate) fn to(pages: &Pages, urls: &[String]) -> Self {
        let words: Vec<_> = urls.iter().map(|url| ("frame", url.as_str())).collect();
        let browser = Browser::open(&pages.url("127.0.0.1", &words));
        let outcomes = pages.reports(urls.len());
        Self { outcomes, requests: browser.close() }
    }

    /// Pages of another site, of another port of `localhost`, and without an origin, each against
    /// each of these services; those behind mutual TLS must not answer at all.
    pub(crate) fn of_strangers(targets: &[String], mutual: &[String]) -> Self {
        let pages = Pages::serve();
        let hosts = [
            ("attacker.example", None),
            ("localhost", None),
            ("attacker.example", Some(("sandbox", "1"))),
        ];
        let mut urls = Vec::new();
        for (kind, targets) in [("refused", targets), ("silent", mutual)] {
            for target in targets {
                for (host, more) in hosts {
                    let tag = format!("{kind}{}", urls.len());
                    let words = [
                        ("tag", tag.as_str()),
                        ("target", target),
                        ("report", &pages.report_url()),
                    ];
                    let words: Vec<_> = words.into_iter().chain(more).collect();
                    urls.push(pages.url(host, &words));
                }
            }
        }
        let visit = Self::to(&pages, &urls);
        let silent = visit.requests("silent");
        let answered = list(&silent, |status| status.is_some());
        assert!(!silent.is_empty() && answered.is_empty(), "answered:{answered}");
        visit
    }

    /// A page on a port of `rebound.example` that is there still when the name, as it were, leads
    /// to the service: what `start` starts on that port.
    pub(crate) fn rebound<T>(pages: &Pages, path: &str, start: impl FnOnce(u16) -> T) -> (Self, T) {
        let before = Pages::serve();
        let port = before.address().port();
        let words =
            [("tag", "refused"), ("path", path), ("wait", "1"), ("report", &pages.report_url())];
        let browser = Browser::open(&before.url("rebound.example", &words));
        // The page waits.
        pages.reports(1);
        drop(before);
        let service = start(port);
        let outcomes = pages.reports(1);
        let requests = browser.close();
        (Self { outcomes, requests }, service)
    }

    /// A page of `panel.example` asks each of these, of which all `foreign` have to be refused.
    pub(crate) fn of_a_friend(pages: &Pages, ours: &[String], foreign: &[String]) -> Self {
        let page = |kind: &str, number: usize, target: &str| {
            let words = [
                ("tag", &*format!("{kind}{number}")),
                ("target", target),
                ("report", &pages.report_url()),
            ];
            pages.url("panel.example", &words)
        };
        let ours = ours.iter().enumerate().map(|(number, url)| page("ours", number, url));
        let foreign = foreign.iter().enumerate().map(|(number, url)| page("refused", number, url));
        Self::to(pages, &ours.chain(foreign).collect::<Vec<_>>())
    }

    /// Every attempt of a page that has to be refused was made, and was refused with this status.
    #[track_caller]
    pub(crate) fn assert_refused(&self, status: u16) {
        let requests = self.requests("refused");
        let pages = self
            .outcomes
            .keys()
            .filter(|name| name.starts_with("refused") && name.ends_with("-put"));
        let wrong = list(&requests, |answer| answer != Some(status));
        assert!(wrong.is_empty(), "of {} requests not refused:{wrong}", requests.len());
        assert!(requests.len() >= pages.count() * KINDS, "only {} requests", requests.len());
    }

    /// The requests for the attempts of pages whose tags begin so.
    fn requests(&self, tag: &str) -> Vec<&Request> {
        let mark = format!("/{tag}");
        self.requests.iter().filter(|request| request.url.contains(&mark)).collect()
    }
}

/// A line for each request with such an answer.
fn list(requests: &[&Request], is_such: impl Fn(Option<u16>) -> bool) -> String {
    let such = requests.iter().filter(|request| is_such(request.status));
    such.map(|Request { method, url, status }| format!("\n{method} {url}: {status:?}")).collect()
}

/// Whether there is a browser; says so where there is none.
pub(crate) fn is_here() -> bool {
    let is_here =
        Command::new(PROGRAM).arg("--version").output().is_ok_and(|it| it.status.success());
    if !is_here {
        eprintln!("skipped: no {PROGRAM} here; `make test` installs it where Debian has it");
    }
    is_here
}

/// The requests in a log of Chromium's network stack.
fn requests(log: &str) -> Vec<Request> {
    let log: Value = serde_json::from_str(log).unwrap();
    let kind = |name: &str| log["constants"]["logEventTypes"][name].clone();
    let [start, read, refused] = [
        "URL_REQUEST_START_JOB",
        "HTTP_TRANSACTION_READ_RESPONSE_HEADERS",
        "WEBSOCKET_UPGRADE_FAILURE",
    ]
    .map(kind);
    let mut requests: BTreeMap<u64, Request> = BTreeMap::new();
    for event in log["events"].as_array().unwrap() {
        let Some(id) = event["source"]["id"].as_u64() else { continue };
        let params = &event["params"];
        let text = |name: &str| params[name].as_str().map(str::to_owned);
        if event["type"] == start {
            let (Some(url), Some(method)) = (text("url"), text("method")) else { continue };
            requests.insert(id, Request { url, method, status: None });
        } else if let Some(request) = requests.get_mut(&id) {
            let status = if event["type"] == read {
                // "HTTP/1.1 200 OK"
                params["headers"][0].as_str().and_then(|line| line.split(' ').nth(1))
            } else if event["type"] == refused {
                // "Error during WebSocket handshake: Unexpected response code: 403"
                params["message"].as_str().and_then(|text| text.rsplit(' ').next())
            } else {
                continue;
            };
            request.status = status.and_then(|digits| digits.parse().ok());
        }
    }
    requests.into_values().collect()
}

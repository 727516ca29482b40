//! The stand-in for the cloud as a program of its own, for the demonstration and for measuring.
//!
//! It prints `Serving https://ADDRESS` when it does, then the request line of each request that it gets,
//! never its fields: tokens are among them. With `--devices`, it gives tokens to devices on port 8443
//! of the same address, and prints the SHA-256 of the certificate that each asked with.
#![allow(dead_code, unused_imports, reason = "the tests use all of it, the program a part")]
#![allow(clippy::unwrap_used, reason = "it ends by panicking, as a test does")]
#![allow(clippy::disallowed_methods, reason = "it has no executor to stall")]
#![allow(clippy::print_stdout, reason = "a program for people to look at")]

mod bridge;
mod cloud;
mod directory;
mod mqtt;

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use bridge::Bridge;
use cloud::access_tokens::Trust;
use cloud::record::Request;
use cloud::tokens::Claims;
use cloud::{Cloud, Options};
use ring::digest::{SHA256, digest};

/// Where Cumulocity gives tokens to devices.
const TOKENS: u16 = 8443;

const USAGE: &str = "usage: cloud --certificate FILE --key FILE [--address IP] [--port PORT]
             [--mqtt ADDRESS:PORT [--prefix c8y]] [--user NAME:PASSWORD]
             [--devices CA] [--life SECONDS] [--quiet]";

fn main() -> Result<(), Box<dyn Error>> {
    let (mut certificate, mut key, mut mqtt, mut user) = (None, None, None, None);
    let (mut address, mut port, mut prefix) = ("127.0.0.1".to_owned(), 0_u16, "c8y".to_owned());
    let (mut claims, mut quiet, mut devices) = (Claims::default(), false, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--quiet" {
            quiet = true;
            continue;
        }
        let value = arguments.next().ok_or(USAGE)?;
        match argument.as_str() {
            "--certificate" => certificate = Some(value),
            "--key" => key = Some(value),
            "--address" => address = value,
            "--port" => port = value.parse()?,
            "--mqtt" => mqtt = Some(value.parse::<SocketAddr>()?),
            "--prefix" => prefix = value,
            "--user" => {
                let (name, password) = value.split_once(':').ok_or(USAGE)?;
                user = Some((name.to_owned(), password.to_owned()));
            }
            "--devices" => devices = Some(value),
            "--life" => claims.life = Duration::from_secs(value.parse()?),
            _ => return Err(USAGE.into()),
        }
    }
    let (certificate, key) = (certificate.ok_or(USAGE)?, key.ok_or(USAGE)?);
    let options = Options { user, ..Options::new(&certificate, &key) };
    let cloud = Cloud::on(TcpListener::bind((&*address, port))?, options)?;
    cloud.tokens().set(claims);
    let endpoint = devices.map(|authority| {
        let trust = Some(Trust { authority: authority.into(), revoked: None });
        let options = Options { trust, ..Options::new(&certificate, &key) };
        cloud.on_beside(TcpListener::bind((&*address, TOKENS))?, options)
    });
    let endpoint = endpoint.transpose()?;
    let _bridge = mqtt.map(|broker| Bridge::start(&cloud, broker, &prefix));
    println!("Serving https://{}", cloud.address());
    loop {
        // The record is emptied as it is printed: measuring runs for a long time.
        for request in cloud.take(Duration::from_millis(200)) {
            if !quiet {
                println!("{}", line(&request));
            }
        }
        let Some(endpoint) = &endpoint else { continue };
        for request in endpoint.take(Duration::ZERO) {
            let shown = endpoint.seen().connections.swap_remove(request.connection).certificate;
            let shown = digest(&SHA256, &shown.unwrap_or_default());
            println!("{} by {shown:?}", line(&request));
        }
    }
}

fn line(request: &Request) -> String {
    let line = request.head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    format!("{} ({} bytes)", line.escape_ascii(), request.length)
}

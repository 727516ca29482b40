//! The input is variables, one a line. Each value is taken as its kind says or refused by name,
//! and a value that is taken means what it says.

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::net::Host;
use crate::settings::{
    Count, Free, HostPort, Layer, List, Proxy, SETTINGS, Settings, Size, ValueType, Values,
    variable,
};

/// Panics where something does not hold.
pub fn check(input: &[u8]) {
    let mut environment: Vec<(OsString, OsString)> = Vec::new();
    for line in input.split(|byte| *byte == b'\n') {
        let Some(equals) = line.iter().position(|byte| *byte == b'=') else { continue };
        let [name, value] =
            [&line[..equals], &line[equals + 1..]].map(|part| OsString::from_vec(part.to_vec()));
        if let Some(text) = value.to_str() {
            check_value(text);
        }
        // An environment has each name once. What a certificate says is another target's.
        let is_new = environment.iter().all(|(other, _)| *other != name);
        if is_new && name != "TEDGE_DEVICE_CERT_PATH" {
            environment.push((name, value));
        }
    }

    let nowhere = Path::new("/nowhere");
    let forward = Settings::load(nowhere, environment.clone(), &[]);
    let backward = Settings::load(nowhere, environment.iter().rev().cloned(), &[]);
    assert_eq!(forward.is_ok(), backward.is_ok(), "the order counts");
    match forward {
        Ok(loaded) => {
            let other = backward.unwrap().settings;
            assert_eq!(format!("{:?}", loaded.settings), format!("{other:?}"));
            check_loaded(&loaded.settings, environment);
        }
        Err(error) => {
            let said = error.to_string();
            let is_named =
                |(name, _): &(OsString, OsString)| said.contains(name.to_str().unwrap_or("\0"));
            assert!(environment.iter().any(is_named), "it names no variable: {said}");
        }
    }
}

fn check_loaded(settings: &Settings, environment: Vec<(OsString, OsString)>) {
    let values = Values::read(Path::new("/nowhere"), environment.clone(), &[]).unwrap();
    for setting in SETTINGS {
        let name = variable(setting.key);
        let said = environment.iter().find(|(other, text)| *other == *name && !text.is_empty());
        let Some((_, text)) = said else { continue };
        let text = text.to_str().unwrap();
        assert!((setting.kind.is_valid)(text), "{name}={text}");
        assert_eq!(values.found(setting).unwrap().text, text);
        assert_eq!(*settings.layer(setting.key), Layer::Environment(name));
    }
}

/// What is read from a text is read again from what is shown of it.
fn check_value(text: &str) {
    if let Some(host) = Host::parse(text) {
        assert!(!host.bare().contains(|c: char| !c.is_ascii_alphanumeric() && !"-_.:".contains(c)));
        assert_eq!(Host::parse(&host.to_string()), Some(host));
    }
    if let Some(read) = HostPort::<443>::parse(text) {
        assert_ne!(read.0.port, 0);
        assert_eq!(HostPort::<443>::parse(&read.0.to_string()), Some(read));
    }
    if let Some(read) = Proxy::parse(text) {
        assert_ne!(read.origin.port, 0);
        let again = Proxy::parse(&format!("http://{}", read.origin)).unwrap();
        assert_eq!((again.origin, again.login), (read.origin, None));
    }
    if let Some(read) = IpAddr::parse(text) {
        assert_eq!(IpAddr::parse(&read.to_string()), Some(read));
    }
    if let Some(Free::Percent(percent)) = Free::parse(text) {
        assert!(percent <= 100);
    }
    assert_ne!(Count::parse(text), Some(0));
    assert_eq!(Size::parse(text), bytes(text), "{text}");
    for item in List::parse(text).unwrap() {
        assert!(!item.is_empty() && !item.contains(',') && item.trim() == item);
    }
}

fn bytes(text: &str) -> Option<u64> {
    let (digits, factor) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (&text[..at], 1 << 10),
        (at, 'M') => (&text[..at], 1 << 20),
        (at, 'G') => (&text[..at], 1 << 30),
        _ => (text, 1_u128),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    if digits.len() > 20 {
        return None;
    }
    u64::try_from(format!("0{digits}").parse::<u128>().ok()? * factor).ok()
}

//! The input is a time on a line, in seconds since 1970, then an answer `71,TOKEN`, or else the
//! claims of a token. A token that is accepted can stand in a field, and its life makes sense.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use serde_json::Value;

use crate::credentials::jwt::{from_answer, life};

const HUNDRED_YEARS: u64 = 100 * 365 * 86_400;

/// Panics where something does not hold.
pub fn check(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (now, rest) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    let now = std::str::from_utf8(now).ok().and_then(|text| text.parse::<u32>().ok());
    let now = now.unwrap_or(1_700_000_000);

    if rest.starts_with(b"71,") {
        check_answer(rest, now);
    } else {
        let claims = URL_SAFE_NO_PAD.encode(rest);
        check_answer(format!("71,e30.{claims}.c2ln\r\n").as_bytes(), now);
    }
}

fn check_answer(answer: &[u8], now: u32) {
    let Ok(token) = from_answer(answer) else { return };
    assert!((1..=16 * 1024).contains(&token.len()));
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    assert_eq!(value.to_str().unwrap(), format!("Bearer {token}"));
    assert!(answer.windows(token.len()).any(|window| window == token.as_bytes()));

    let now = Duration::from_secs(now.into());
    let life = life(token, UNIX_EPOCH + now);
    let expected = plain(token, now.as_secs_f64());
    // What is left of a nanosecond may be nothing.
    let expected = expected.filter(|seconds| life.is_some() || *seconds > 1e-9);
    assert_eq!(life.is_some(), expected.is_some(), "{life:?}, {expected:?}");
    if let Some((life, expected)) = life.zip(expected) {
        assert!(!life.is_zero());
        assert!(life.as_secs() <= HUNDRED_YEARS, "{life:?} is no life of a token");
        assert!((life.as_secs_f64() - expected).abs() < 1.0, "{life:?}, {expected:?}");
    }
}

/// The life that the claims speak of, in seconds.
fn plain(token: &str, now: f64) -> Option<f64> {
    let payload = token.split('.').nth(1)?.trim_end_matches('=');
    token.split('.').nth(2)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    let number = |name: &str| match claims.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(value) => Some(Some(value.as_f64()?)),
    };
    let (exp, iat) = (number("exp")??, number("iat")?);
    let (life, least) = match iat {
        Some(iat) => (exp - iat, 0.0),
        None => (exp - now, 60.0),
    };
    (life > least && life <= HUNDRED_YEARS as f64).then_some(life)
}

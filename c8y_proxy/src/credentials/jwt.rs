//! The claims of a token. They are read, not verified: Cumulocity verifies them. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// The prefix of a token on `<prefix>/s/dat` (SmartREST 2.0, template 71).
const TEMPLATE: &[u8] = b"71,";

/// The maximum length, longer than any header field should be.
const LONGEST: usize = 16 * 1024;

/// A shorter lifetime may be only a difference between two clocks.
const DOUBT: f64 = 60.0;

/// A hundred years. A longer lifetime means that the claims have another unit.
const LONGEST_LIFE: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The token in an answer `71,<JWT>`, or the fault of the answer.
pub(crate) fn from_answer(answer: &[u8]) -> Result<&str, &'static str> {
    let token =
        answer.trim_ascii().strip_prefix(TEMPLATE).ok_or("it does not begin with \"71,\"")?;
    check(token)
}

/// The token in `{"accessToken":"<JWT>"}`, or the fault of the answer.
pub(crate) fn from_json(answer: &[u8]) -> Result<String, &'static str> {
    let token = texts(answer).and_then(|texts| texts.access_token);
    let token = token.ok_or("it is not JSON with an accessToken")?;
    check(token.as_bytes())?;
    if token.split('.').count() != 3 {
        return Err("the token is not a JWT");
    }
    Ok(token)
}

/// Other values that are read from an answer or from Cumulocity's own claims. They are parsed
/// separately: a claim of an unexpected type must not hide the end of the token.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Texts {
    access_token: Option<String>,
    sub: Option<String>,
    ten: Option<String>,
}

#[inline(never)]
fn texts(json: &[u8]) -> Option<Texts> {
    serde_json::from_slice(json).ok()
}

fn check(token: &[u8]) -> Result<&str, &'static str> {
    if token.is_empty() {
        return Err("the token is empty");
    }
    if token.len() > LONGEST {
        return Err("the token is longer than 16 KiB");
    }
    if !token.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte)) {
        return Err("the token has characters that are not allowed (RFC 6750, 2.1)");
    }
    std::str::from_utf8(token).map_err(|_| "the token is not UTF-8")
}

/// How long a token is valid from its arrival: `exp` minus `iat`, or `exp` minus now if that is
/// more than a minute. `None` if the claims do not give a plausible value.
pub(crate) fn life(token: &str, now: SystemTime) -> Option<Duration> {
    let claims = claims(token)?;
    let life = match claims.iat {
        Some(iat) => claims.exp? - iat,
        None => {
            let now = now.duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
            Some(claims.exp? - now).filter(|left| *left > DOUBT)?
        }
    };
    Duration::try_from_secs_f64(life).ok().filter(|life| !life.is_zero() && *life <= LONGEST_LIFE)
}

/// The claims of RFC 7519, 4.1 that are used here, in seconds since 1970.
#[derive(Deserialize)]
struct Claims {
    exp: Option<f64>,
    iat: Option<f64>,
}

/// The user and the tenant of a token; empty if they cannot be read.
pub(crate) fn bearer(token: &str) -> [String; 2] {
    let texts = payload(token).and_then(|payload| texts(&payload));
    texts.map(|texts| [texts.sub, texts.ten].map(Option::unwrap_or_default)).unwrap_or_default()
}

/// The end of a token by its claims, in seconds since 1970.
pub(crate) fn end(token: &str) -> Option<f64> {
    claims(token)?.exp
}

/// Whether `exp` is in the past by this device's clock.
pub(crate) fn is_expired(token: &str, now: SystemTime) -> bool {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    end(token).is_some_and(|end| end <= now)
}

#[inline(never)]
fn claims(token: &str) -> Option<Claims> {
    serde_json::from_slice(&payload(token)?).ok()
}

fn payload(token: &str) -> Option<Vec<u8>> {
    let mut parts = token.split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A token with these claims, as JSON.
    pub(crate) fn token(claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part(r#"{"alg":"RS256"}"#), part(claims), part("signature"))
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn takes_the_token_out_of_an_answer() {
        for (answer, token) in [
            (&b"71,a.b.c"[..], Some("a.b.c")),
            (b"71,a.b.c\r\n", Some("a.b.c")),
            (b"71,opaque", Some("opaque")),
            (b"71,", None),
            (b"71", None),
            (b"", None),
            (b"70,a.b.c", None),
            (b"71,a b", None),
            (b"71,a\0b", None),
            (b"71,\xff\xfe", None),
            (b"71,a.b.c\r\n71,d.e.f", None),
        ] {
            assert_eq!(from_answer(answer).ok(), token, "{answer:?}");
        }
        assert!(from_answer(&[b"71,".to_vec(), vec![b'a'; LONGEST + 1]].concat()).is_err());
    }

    #[test]
    fn takes_the_token_out_of_json() {
        for (answer, token) in [
            (r#"{"accessToken":"a.b.c"}"#, Ok("a.b.c")),
            (r#" {"id": 1, "accessToken": "a.b.c"} "#, Ok("a.b.c")),
            (r#"{"accessToken":"opaque"}"#, Err("the token is not a JWT")),
            (r#"{"accessToken":""}"#, Err("the token is empty")),
            (r#"{"accessToken":1}"#, Err("it is not JSON with an accessToken")),
            (r#"{"token":"a.b.c"}"#, Err("it is not JSON with an accessToken")),
            ("<html>", Err("it is not JSON with an accessToken")),
            ("", Err("it is not JSON with an accessToken")),
        ] {
            let read = from_json(answer.as_bytes());
            assert_eq!(read.as_deref(), token.as_ref().map(|token| *token), "{answer}");
        }
        assert!(
            from_json(
                br#"{"accessToken":"a.
b.c"}"#
            )
            .is_err()
        );
    }

    #[test]
    fn counts_a_life_without_trusting_the_clock() {
        let hour = Some(Duration::from_secs(3600));
        for (claims, now, expected) in [
            (r#"{"iat":1000,"exp":4600}"#, 1000, hour),
            (r#"{"iat":1000,"exp":4600}"#, 99_999_999, hour),
            (r#"{"iat":1000.5,"exp":4600.5,"sub":"d","aud":["x"]}"#, 0, hour),
            (r#"{"exp":4600}"#, 1000, hour),
            (r#"{"exp":4600}"#, 4540, None),
            (r#"{"exp":4600}"#, 9000, None),
            (r#"{"iat":4600,"exp":4600}"#, 1000, None),
            (r#"{"iat":4600,"exp":1000}"#, 1000, None),
            (r#"{"iat":0,"exp":1e300}"#, 1000, None),
            (r#"{"iat":0,"exp":1e19}"#, 1000, None),
            (r#"{"exp":1700003600000}"#, 1_700_000_000, None),
            (r#"{"iat":1000}"#, 1000, None),
            (r#"{"exp":"soon"}"#, 1000, None),
            (r#"{"exp":null,"iat":null}"#, 1000, None),
            ("[]", 1000, None),
            ("{", 1000, None),
        ] {
            assert_eq!(life(&token(claims), at(now)), expected, "{claims} at {now}");
        }
        for token in ["", "a", "a.b", "a.b.c", "..", "a.!!!.c"] {
            assert_eq!(life(token, at(1000)), None, "{token}");
        }
    }

    #[test]
    fn a_token_is_expired_from_its_end_on() {
        for (claims, now, expected) in [
            (r#"{"exp":4600}"#, 4599, false),
            (r#"{"exp":4600}"#, 4600, true),
            (r#"{"exp":4600,"iat":9000}"#, 9000, true),
            (r#"{"exp":-1}"#, 0, true),
            (r#"{"exp":"soon"}"#, 9000, false),
            ("{}", 9000, false),
        ] {
            assert_eq!(is_expired(&token(claims), at(now)), expected, "{claims} at {now}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_too_odd(answer in prop::collection::vec(any::<u8>(), 0..60)) {
            let answer = [&b"71,"[..], &answer].concat();
            if let Ok(token) = from_answer(&answer) {
                let _ = life(token, SystemTime::now());
            }
        }

        #[test]
        fn no_claim_is_too_odd(claims in r#"\{"exp":[-0-9eE.+"]{1,12},"iat":[-0-9eE.+]{1,12}\}"#) {
            let _ = life(&token(&claims), SystemTime::now());
        }
    }
}

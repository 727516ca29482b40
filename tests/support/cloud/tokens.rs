//! The device tokens: JWTs as Cumulocity makes them, signed, that run out and can be revoked.
//! It does not know how they reach the device (MQTT) or come back (HTTP).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

/// What the claims of the next tokens say.
#[derive(Clone, Debug)]
pub(crate) struct Claims {
    /// How long a token is good for.
    pub(crate) life: Duration,
    /// Whether it says when it runs out.
    pub(crate) exp: bool,
    /// Whether it says when it was made.
    pub(crate) iat: bool,
    /// How far the clock of the cloud is ahead of (or, negative, behind) this machine's, in
    /// seconds.
    pub(crate) ahead: i64,
}

impl Default for Claims {
    fn default() -> Self {
        Self { life: Duration::from_secs(3600), exp: true, iat: true, ahead: 0 }
    }
}

/// Makes tokens and judges them.
pub(crate) struct Tokens {
    key: hmac::Key,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    claims: Claims,
    /// Each token by what it says, with the moment at which it runs out.
    good: HashMap<String, Instant>,
    issued: usize,
}

impl Tokens {
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret), inner: Mutex::default() }
    }

    /// Changes what the tokens say that are made from now on.
    pub(crate) fn set(&self, claims: Claims) {
        self.lock().claims = claims;
    }

    /// A new token; earlier ones stay good.
    pub(crate) fn issue(&self) -> String {
        let mut inner = self.lock();
        inner.issued += 1;
        let token = self.sign(&inner.claims, inner.issued);
        let end = Instant::now() + inner.claims.life;
        inner.good.insert(token.clone(), end);
        token
    }

    /// How many were made.
    pub(crate) fn issued(&self) -> usize {
        self.lock().issued
    }

    /// Whether this one was made here, has not run out and was not revoked.
    pub(crate) fn accepts(&self, token: &str) -> bool {
        let Some((said, signature)) = token.rsplit_once('.') else { return false };
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        hmac::verify(&self.key, said.as_bytes(), &signature).is_ok()
            && self.lock().good.get(token).is_some_and(|end| Instant::now() < *end)
    }

    /// Makes one worthless.
    pub(crate) fn revoke(&self, token: &str) {
        self.lock().good.remove(token);
    }

    /// Makes all of them worthless.
    pub(crate) fn revoke_all(&self) {
        self.lock().good.clear();
    }

    fn sign(&self, claims: &Claims, number: usize) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = now.saturating_add_signed(claims.ahead);
        let mut said = serde_json::json!({
            "jti": format!("{number:08x}-7a2c-4c53-9f05-8d1c5a3d9e11"),
            "iss": "t12345.cumulocity.example",
            "aud": "t12345.cumulocity.example",
            "tci": "a8b0c5b6-0c42-4f5e-9d0e-6a1d2c3b4e5f",
            "sub": "device_stand-in",
            "nbf": now,
            "tfa": false,
            "ten": "t12345",
            "xsrfToken": "tWbXjYzAbCdEfGhIjKlM",
        });
        if claims.iat {
            said["iat"] = now.into();
        }
        if claims.exp {
            said["exp"] = (now + claims.life.as_secs()).into();
        }
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let said = format!("{head}.{}", URL_SAFE_NO_PAD.encode(said.to_string()));
        let signature = hmac::sign(&self.key, said.as_bytes());
        format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

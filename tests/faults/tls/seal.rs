//! Records under the keys of a session, AES-128-GCM in either version of TLS.
//!
//! The test decides what is in them.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk};
use ring::hmac;

use super::hello::{CHANGE_CIPHER_SPEC, DATA, vector};

/// The keys of one side, and the number of the next record.
pub(crate) struct Seal {
    key: LessSafeKey,
    iv: Vec<u8>,
    sequence: u64,
    /// That of TLS 1.3, from which the next keys come.
    secret: Option<Vec<u8>>,
}

impl Seal {
    /// RFC 8446, 7.3.
    pub(crate) fn tls13(secret: &[u8]) -> Self {
        let key = key(&expand(secret, b"key", 16));
        Self { key, iv: expand(secret, b"iv", 12), sequence: 0, secret: Some(secret.to_vec()) }
    }

    /// RFC 5246, 6.3, for the client's side.
    pub(crate) fn tls12(master: &[u8], client: &[u8], server: &[u8], sequence: u64) -> Self {
        let seed = [b"key expansion", server, client].concat();
        let hmac_key = hmac::Key::new(hmac::HMAC_SHA256, master);
        let (mut a, mut block) = (seed.clone(), Vec::new());
        while block.len() < 40 {
            a = hmac::sign(&hmac_key, &a).as_ref().to_vec();
            block.extend(hmac::sign(&hmac_key, &[&a[..], &seed].concat()).as_ref());
        }
        Self { key: key(&block[..16]), iv: block[32..36].to_vec(), sequence, secret: None }
    }

    /// A record of this type with this content.
    pub(crate) fn record(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        self.padded(kind, content, 0)
    }

    /// The same with so many zeros behind it, which only TLS 1.3 has.
    pub(crate) fn padded(&mut self, kind: u8, content: &[u8], zeros: usize) -> Vec<u8> {
        let sequence = self.sequence.to_be_bytes();
        self.sequence += 1;
        let mut sealed = content.to_vec();
        if self.secret.is_some() {
            sealed.push(kind);
            sealed.resize(sealed.len() + zeros, 0);
            let head = head(DATA, sealed.len() + 16);
            self.key
                .seal_in_place_append_tag(self.nonce(&sequence), Aad::from(head), &mut sealed)
                .unwrap();
            [&head[..], &sealed].concat()
        } else {
            let aad = [&sequence[..], &head(kind, content.len())].concat();
            let nonce = Nonce::try_assume_unique_for_key(&[&self.iv[..], &sequence].concat());
            self.key.seal_in_place_append_tag(nonce.unwrap(), Aad::from(aad), &mut sealed).unwrap();
            [&head(kind, sealed.len() + 8)[..], &sequence, &sealed].concat()
        }
    }

    /// The handshake messages in records that this side has sealed, one after the other.
    pub(crate) fn messages(&mut self, records: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for record in records.iter().filter(|record| record[0] != CHANGE_CIPHER_SPEC) {
            let (head, sealed) = record.split_at(5);
            let mut sealed = sealed.to_vec();
            let nonce = self.nonce(&self.sequence.to_be_bytes());
            self.sequence += 1;
            let plain = self.key.open_in_place(nonce, Aad::from(head), &mut sealed).unwrap();
            all.extend(&plain[..plain.len() - 1]);
        }
        messages(&all)
    }

    /// Changes to the next keys, RFC 8446, 7.2.
    pub(crate) fn update(&mut self) {
        let secret = self.secret.as_ref().expect("only TLS 1.3 has an update");
        *self = Self::tls13(&expand(secret, b"traffic upd", 32));
    }

    /// As if so many records had been sealed already.
    pub(crate) fn skip(&mut self, count: u64) {
        self.sequence += count;
    }

    pub(crate) fn is_tls13(&self) -> bool {
        self.secret.is_some()
    }

    fn nonce(&self, sequence: &[u8; 8]) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(sequence);
        nonce.iter_mut().zip(&self.iv).for_each(|(byte, iv)| *byte ^= iv);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Handshake messages, told apart by their lengths.
pub(crate) fn messages(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let length = u32::from_be_bytes([0, bytes[1], bytes[2], bytes[3]]) as usize;
        let (message, rest) = bytes.split_at(4 + length);
        messages.push(message.to_vec());
        bytes = rest;
    }
    messages
}

fn key(bytes: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, bytes).unwrap())
}

fn head(kind: u8, length: usize) -> [u8; 5] {
    let length = u16::try_from(length).unwrap().to_be_bytes();
    [kind, 3, 3, length[0], length[1]]
}

/// HKDF-Expand-Label with an empty context, RFC 8446, 7.1.
fn expand(secret: &[u8], label: &[u8], length: usize) -> Vec<u8> {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let label = vector(1, &[b"tls13 ", label].concat());
    let info = [&(length as u16).to_be_bytes()[..], &label, &[0]];
    let mut bytes = vec![0; length];
    let prk = Prk::new_less_safe(HKDF_SHA256, secret);
    prk.expand(&info, Length(length)).unwrap().fill(&mut bytes).unwrap();
    bytes
}

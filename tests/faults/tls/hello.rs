//! A ClientHello (RFC 8446, 4.1.2) field by field, so that each can be false on its own.
//!
//! It holds no key: it is good until the server has answered it, no further.

/// Extensions by their numbers.
pub(crate) const SERVER_NAME: u16 = 0;
pub(crate) const GROUPS: u16 = 10;
pub(crate) const POINT_FORMATS: u16 = 11;
pub(crate) const SIGNATURES: u16 = 13;
pub(crate) const ALPN: u16 = 16;
pub(crate) const EXTENDED_MASTER_SECRET: u16 = 23;
pub(crate) const PRE_SHARED_KEY: u16 = 41;
pub(crate) const EARLY_DATA: u16 = 42;
pub(crate) const VERSIONS: u16 = 43;
pub(crate) const COOKIE: u16 = 44;
pub(crate) const KEY_MODES: u16 = 45;
pub(crate) const KEY_SHARE: u16 = 51;
pub(crate) const RENEGOTIATION: u16 = 0xff01;

/// Groups by their numbers.
pub(crate) const P256: u16 = 0x17;
pub(crate) const X25519: u16 = 0x1d;

/// What is said first.
#[derive(Clone, Debug)]
pub(crate) struct Hello {
    pub(crate) version: u16,
    pub(crate) session: Vec<u8>,
    pub(crate) suites: Vec<u16>,
    pub(crate) compressions: Vec<u8>,
    /// `None`: not even their length.
    pub(crate) extensions: Option<Vec<(u16, Vec<u8>)>>,
}

/// A length in a message: what of, where, and in how many bytes.
#[derive(Clone, Debug)]
pub(crate) struct Length {
    pub(crate) of: String,
    pub(crate) at: usize,
    pub(crate) width: usize,
}

impl Hello {
    /// One that is answered with TLS 1.3.
    pub(crate) fn tls13() -> Self {
        let mut hello = Self::tls12();
        hello.suites.insert(0, 0x1301);
        hello
            .with(VERSIONS, vector(1, &[3, 4, 3, 3]))
            .with(KEY_MODES, vector(1, &[1]))
            .with(KEY_SHARE, vector(2, &share(X25519, &x25519())))
    }

    /// One that is answered with TLS 1.2.
    pub(crate) fn tls12() -> Self {
        let extensions = vec![
            (SERVER_NAME, server_name(b"localhost")),
            (GROUPS, vector(2, &[0, 0x1d, 0, 0x17])),
            (POINT_FORMATS, vector(1, &[0])),
            // ECDSA with P-256, RSA-PSS and RSA with SHA-256.
            (SIGNATURES, vector(2, &[4, 3, 8, 4, 4, 1])),
            (ALPN, vector(2, &vector(1, b"http/1.1"))),
            (EXTENDED_MASTER_SECRET, vec![]),
            (RENEGOTIATION, vec![0]),
        ];
        Self {
            version: 0x0303,
            session: vec![7; 32],
            suites: vec![0xc02b, 0xc02f],
            compressions: vec![0],
            extensions: Some(extensions),
        }
    }

    /// This extension in place of the one of its number.
    pub(crate) fn with(self, number: u16, body: impl Into<Vec<u8>>) -> Self {
        self.without(number).and(number, body)
    }

    /// This extension after all others.
    pub(crate) fn and(mut self, number: u16, body: impl Into<Vec<u8>>) -> Self {
        self.extensions.get_or_insert_default().push((number, body.into()));
        self
    }

    pub(crate) fn without(mut self, number: u16) -> Self {
        if let Some(extensions) = &mut self.extensions {
            extensions.retain(|&(other, _)| other != number);
        }
        self
    }

    /// The whole handshake message.
    pub(crate) fn message(&self) -> Vec<u8> {
        self.encode().0
    }

    /// In one record, or in as few as can be.
    pub(crate) fn records(&self) -> Vec<u8> {
        self.message().chunks(1 << 14).flat_map(|piece| record(HANDSHAKE, piece)).collect()
    }

    /// The lengths in the message, from the outermost on.
    pub(crate) fn lengths(&self) -> Vec<Length> {
        self.encode().1
    }

    fn encode(&self) -> (Vec<u8>, Vec<Length>) {
        let mut bytes = vec![1, 0, 0, 0];
        let mut lengths = vec![Length { of: "handshake".to_owned(), at: 1, width: 3 }];
        bytes.extend(self.version.to_be_bytes());
        bytes.extend([0x5a; 32]);
        let suites: Vec<u8> = self.suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
        for (of, width, body) in [
            ("session", 1, &self.session),
            ("suites", 2, &suites),
            ("compressions", 1, &self.compressions),
        ] {
            lengths.push(Length { of: of.to_owned(), at: bytes.len(), width });
            bytes.extend(vector(width, body));
        }
        if let Some(extensions) = &self.extensions {
            lengths.push(Length { of: "extensions".to_owned(), at: bytes.len(), width: 2 });
            let mut all = Vec::new();
            for (number, body) in extensions {
                all.extend(number.to_be_bytes());
                let at = bytes.len() + 2 + all.len();
                lengths.push(Length { of: format!("extension {number}"), at, width: 2 });
                if let Some(width) = inner(*number) {
                    let of = format!("list in extension {number}");
                    lengths.push(Length { of, at: at + 2, width });
                }
                all.extend(vector(2, body));
            }
            bytes.extend(vector(2, &all));
        }
        let length = (bytes.len() - 4).to_be_bytes();
        bytes[1..4].copy_from_slice(&length[length.len() - 3..]);
        (bytes, lengths)
    }
}

/// The width of the length that the body of an extension begins with.
fn inner(number: u16) -> Option<usize> {
    match number {
        SERVER_NAME | GROUPS | SIGNATURES | ALPN | KEY_SHARE => Some(2),
        POINT_FORMATS | VERSIONS | KEY_MODES | RENEGOTIATION => Some(1),
        _ => None,
    }
}

/// The content types of records, RFC 8446, 5.1.
pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const DATA: u8 = 23;

/// A record in the clear, whatever its content.
pub(crate) fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3], &vector(2, content)[..]].concat()
}

/// Bytes behind their length, which wraps around where it does not fit.
pub(crate) fn vector(width: usize, body: &[u8]) -> Vec<u8> {
    let length = body.len().to_be_bytes();
    [&length[length.len() - width..], body].concat()
}

/// The body of a server name extension with one host name in it.
pub(crate) fn server_name(name: &[u8]) -> Vec<u8> {
    vector(2, &[&[0], &vector(2, name)[..]].concat())
}

/// One entry of a key share.
pub(crate) fn share(group: u16, key: &[u8]) -> Vec<u8> {
    [&group.to_be_bytes(), &vector(2, key)[..]].concat()
}

/// The base point of X25519, as good a public key as any.
pub(crate) fn x25519() -> Vec<u8> {
    let mut key = vec![0; 32];
    key[0] = 9;
    key
}

/// The base point of P-256, uncompressed (SEC 2, 2.4.2).
pub(crate) fn p256() -> Vec<u8> {
    let point = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
                 4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
    let digits = (0..point.len()).step_by(2);
    digits.map(|at| u8::from_str_radix(&point[at..at + 2], 16).unwrap()).collect()
}

//! Session tickets, each valid no longer than the certificate of the client that presents it.
//!
//! rustls does not check a client's certificate again when a session is resumed, and each
//! resumption gives a new ticket. Without this module, a client could resume forever after its
//! certificate has become invalid. A ticket that is no longer valid leads to a full handshake,
//! which tells the client why.

use std::sync::Arc;

use rustls::server::ProducesTickets;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::CertificateDer;

use super::admission::Admission;
use crate::x509::certificate::Certificate;

#[derive(Debug)]
pub(super) struct Tickets {
    pub(super) usual: Arc<dyn ProducesTickets>,
    pub(super) admission: Arc<Admission>,
    pub(super) time: Arc<dyn TimeProvider>,
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.usual.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.usual.lifetime()
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        self.usual.encrypt(session)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let session = self.usual.decrypt(ticket)?;
        let chain = certificates(&session);
        let (end_entity, intermediates) = chain.split_first()?;
        let judged = self.admission.judge(end_entity, intermediates, self.time.current_time()?);
        judged.is_ok().then_some(session)
    }
}

/// The certificates in a session. rustls does not document its encoding.
fn certificates(session: &[u8]) -> Vec<CertificateDer<'_>> {
    let mut chain = Vec::new();
    let mut rest = session;
    while !rest.is_empty() {
        match Certificate::at_start(rest) {
            Some(der) => {
                chain.push(CertificateDer::from(der));
                rest = &rest[der.len()..];
            }
            None => rest = &rest[1..],
        }
    }
    chain
}

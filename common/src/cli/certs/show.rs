//! `tedge certs show`: describes certificates, requests and revocation lists in words.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;

use super::files::{bytes, invalid};
use crate::cli::command_line::Exit;
use crate::cli::print::print;
use crate::escape::Escaped;
use crate::x509::certificate::{Certificate, Serial};
use crate::x509::key::PrivateKey;
use crate::x509::pem::{self, Section, SectionKind};
use crate::x509::{CertificateRequest, Malformed, PublicKey, RevocationList, Time};

/// Prints what is in each of the files.
pub(super) fn show(files: &[OsString]) -> Result<(), Exit> {
    for (index, file) in files.iter().enumerate() {
        let path = Path::new(file);
        let contents = pem::read(&bytes(path)?);
        if contents.sections.is_empty() {
            return Err(match contents.faults.first() {
                Some(fault) => invalid(path, fault),
                None => invalid(path, "holds no PEM (text with BEGIN and END lines)"),
            }
            .into());
        }
        let mut text = if index > 0 { "\n".to_owned() } else { String::new() };
        for (number, section) in contents.sections.iter().enumerate() {
            if number > 0 {
                text.push('\n');
            }
            let _ = write!(text, "{}: ", Escaped(&path.to_string_lossy()));
            describe(&mut text, section).map_err(|error| {
                invalid(path, format_args!("is {error} (line {})", section.line))
            })?;
        }
        print(&text)?;
        // Reported after the sections that could be read.
        if let Some(fault) = contents.faults.first() {
            return Err(invalid(path, fault).into());
        }
    }
    Ok(())
}

fn describe(text: &mut String, section: &Section) -> Result<(), Malformed> {
    match section.kind {
        SectionKind::Certificate => certificate(text, &section.der),
        SectionKind::Request => request(text, &section.der),
        SectionKind::RevocationList => list(text, &section.der),
        _ => {
            let public = PrivateKey::new(&section.der).ok().and_then(|key| key.public().ok());
            let _ = match public {
                Some(public) => {
                    let public = PublicKey::new(&public);
                    writeln!(text, "private key\n  {:<10} {public}", "key")
                }
                None => writeln!(text, "neither a certificate nor a usable key"),
            };
            Ok(())
        }
    }
}

fn certificate(text: &mut String, der: &[u8]) -> Result<(), Malformed> {
    let read = Certificate::parse(der)?;
    let extensions = &read.extensions;
    text.push_str("certificate\n");
    row(text, "subject", read.subject);
    let names: Vec<_> = extensions.alternative_names.iter().map(ToString::to_string).collect();
    if !names.is_empty() {
        row(text, "names", names.join(", "));
    }
    if read.issuer == read.subject {
        row(text, "issuer", "itself");
    } else {
        row(text, "issuer", read.issuer);
    }
    row(text, "valid", format_args!("from {}", read.not_before));
    row(text, "", format_args!("until {} ({})", read.not_after, distance(&read)));
    let purposes = extensions.purposes();
    row(
        text,
        "use",
        match (extensions.is_authority, purposes.is_empty()) {
            (Some(true), _) => "signs certificates (CA)".to_owned(),
            (_, false) => purposes.join(", "),
            _ => "not restricted".to_owned(),
        },
    );
    row(text, "key", read.key);
    row(text, "serial", Serial(read.serial));
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let digits: Vec<_> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    row(text, "SHA-256", digits.join(":"));
    Ok(())
}

fn distance(certificate: &Certificate<'_>) -> String {
    let now = Time::now().unix();
    let days = |seconds: i64| match seconds / 86_400 {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    let (from, until) = (certificate.not_before.unix(), certificate.not_after.unix());
    if now < from {
        format!("begins in {}, by this device's clock", days(from - now))
    } else if now > until {
        format!("expired, {} ago by this device's clock", days(now - until))
    } else {
        format!("{} left", days(until - now))
    }
}

fn request(text: &mut String, der: &[u8]) -> Result<(), Malformed> {
    let read = CertificateRequest::parse(der)?;
    let algorithms = crate::crypto::provider().signature_verification_algorithms;
    text.push_str("certificate signing request\n");
    row(text, "subject", read.subject);
    row(text, "key", read.key);
    let is_right = read.is_signed_by_its_key(algorithms);
    let signature = match read.unknown_algorithm(algorithms) {
        Some(algorithm) => format!("{algorithm}, not supported"),
        None => if is_right { "right" } else { "wrong" }.to_owned(),
    };
    row(text, "signature", signature);
    Ok(())
}

fn list(text: &mut String, der: &[u8]) -> Result<(), Malformed> {
    let read = RevocationList::parse(der)?;
    text.push_str("revocation list\n");
    row(text, "issuer", read.issuer);
    row(text, "revoked", read.serials().count());
    if let Some(due) = read.next_update {
        let expired = if due < Time::now() { " (expired)" } else { "" };
        row(text, "valid", format_args!("until {due}{expired}"));
    }
    Ok(())
}

fn row(text: &mut String, label: &str, value: impl std::fmt::Display) {
    let _ = writeln!(text, "  {label:<10} {value}");
}

//! The bodies of requests, read as their fields say, and the content of big downloads.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest;

use super::super::directory::Directory;
use super::record::Request;

/// A body of up to this many bytes stays in memory, a longer one goes to a file.
const IN_MEMORY: usize = 4 << 20;

/// How long the body of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    None,
    /// By `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

impl Framing {
    /// What the fields of a request say.
    pub(super) fn of(request: &Request) -> io::Result<Self> {
        if let Some(coding) = request.field("transfer-encoding") {
            return if coding.eq_ignore_ascii_case(b"chunked") {
                Ok(Self::Chunked)
            } else {
                Err(io::Error::other("a transfer coding that nobody knows"))
            };
        }
        let Some(length) = request.field("content-length") else { return Ok(Self::None) };
        let length = std::str::from_utf8(length).map_err(io::Error::other)?;
        Ok(Self::Length(length.parse().map_err(io::Error::other)?))
    }
}

/// The length of one of [`blocks`].
const BLOCK: usize = 64 * 1024;

/// Content of any length: each block starts with its number, and what follows does not compress.
pub(crate) fn blocks(length: u64) -> impl Iterator<Item = Vec<u8>> {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()
    };
    let block: Vec<u8> = (0..BLOCK / 8).flat_map(|_| random()).collect();
    (0..length.div_ceil(BLOCK as u64)).map(move |number| {
        let mut block = block.clone();
        block[..8].copy_from_slice(&number.to_le_bytes());
        let left = length - number * BLOCK as u64;
        block.truncate(usize::try_from(left).unwrap_or(BLOCK).min(BLOCK));
        block
    })
}

/// The SHA-256 of [`blocks`] of that length.
pub(crate) fn blocks_digest(length: u64) -> Vec<u8> {
    let mut hash = digest::Context::new(&digest::SHA256);
    blocks(length).for_each(|block| hash.update(&block));
    hash.finish().as_ref().to_vec()
}

/// Bytes that were uploaded, or that are made up when they are asked for.
#[derive(Clone)]
pub(crate) enum Content {
    /// In memory.
    Bytes(Arc<Vec<u8>>),
    /// A part of a file that has no name any more.
    Part(Arc<Mutex<File>>, u64, u64),
    /// That many bytes of [`blocks`].
    Blocks(u64),
}

impl Content {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Part(_, _, length) | Self::Blocks(length) => *length,
        }
    }

    /// A part of it.
    pub(crate) fn slice(&self, start: u64, length: u64) -> io::Result<Self> {
        Ok(match self {
            Self::Bytes(_) | Self::Blocks(_) => {
                Self::Bytes(Arc::new(self.read(start, usize::try_from(length).unwrap_or(0))?))
            }
            Self::Part(file, offset, _) => Self::Part(file.clone(), offset + start, length),
        })
    }

    /// The bytes from `start`, at most `length` of them.
    pub(crate) fn read(&self, start: u64, length: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.length().saturating_sub(start)).unwrap_or(usize::MAX);
        let length = length.min(left);
        let from = usize::try_from(start).unwrap_or(usize::MAX);
        match self {
            Self::Bytes(bytes) => Ok(bytes.iter().skip(from).take(length).copied().collect()),
            Self::Blocks(all) => {
                let skipped = blocks(*all).skip(from / BLOCK).flatten().skip(from % BLOCK);
                Ok(skipped.take(length).collect())
            }
            Self::Part(file, offset, _) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(offset + start))?;
                let mut bytes = vec![0; length];
                file.read_exact(&mut bytes)?;
                Ok(bytes)
            }
        }
    }

    /// Hands out all of it, piece by piece.
    pub(crate) fn each<E: From<io::Error>>(
        &self,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Bytes(bytes) => take(bytes),
            Self::Blocks(length) => blocks(*length).try_for_each(|block| take(&block)),
            Self::Part(..) => {
                let mut at = 0;
                while at < self.length() {
                    let piece = self.read(at, BLOCK)?;
                    at += piece.len() as u64;
                    take(&piece)?;
                }
                Ok(())
            }
        }
    }
}

/// Takes a body that is being read.
pub(crate) struct Spool {
    bytes: Vec<u8>,
    file: Option<File>,
    length: u64,
    hash: digest::Context,
    kept: bool,
}

impl Spool {
    /// Keeps all of it, or counts and hashes only.
    pub(crate) fn new(kept: bool) -> Self {
        let hash = digest::Context::new(&digest::SHA256);
        Self { bytes: Vec::new(), file: None, length: 0, hash, kept }
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        if !self.kept {
            return Ok(());
        }
        if self.file.is_none() && self.bytes.len() + bytes.len() > IN_MEMORY {
            let mut file = nameless()?;
            file.write_all(&std::mem::take(&mut self.bytes))?;
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => {
                self.bytes.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// What was written, and its SHA-256.
    pub(crate) fn finish(self) -> (Content, Vec<u8>) {
        let content = match self.file {
            Some(file) => Content::Part(Arc::new(Mutex::new(file)), 0, self.length),
            None => Content::Bytes(Arc::new(self.bytes)),
        };
        (content, self.hash.finish().as_ref().to_vec())
    }
}

/// A file without a name: it is freed with its last handle.
fn nameless() -> io::Result<File> {
    let directory = Directory::new();
    let path = directory.path().join("body");
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

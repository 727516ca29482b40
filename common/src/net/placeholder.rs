//! Placeholders: zeros that hyper buffers in place of data that the kernel moves by itself.
//!
//! hyper counts the bytes of a message to know where it ends, so it is passed as many zeros as the
//! kernel has moved. A [`super::Stream`] never sends them: it recognises them by their address. They
//! are never written to, so they take no memory.

use std::io::IoSlice;
use std::sync::OnceLock;

use bytes::Bytes;

/// The length of the longest placeholder.
pub(crate) const MOST: usize = 512 * 1024;

static ZEROS: OnceLock<Box<[u8]>> = OnceLock::new();

/// A placeholder of this length, which is at most [`MOST`].
pub(crate) fn placeholder(length: usize) -> Bytes {
    let zeros = ZEROS.get_or_init(|| vec![0; MOST].into());
    Bytes::from_static(&zeros[..length.min(MOST)])
}

/// `Ok` is the length of the placeholder that the buffers begin with. `Err` is the number of buffers
/// before the first placeholder.
pub(super) fn leading(buffers: &[IoSlice<'_>]) -> Result<usize, usize> {
    let first = buffers.iter().position(|buffer| is_placeholder(buffer));
    match first {
        Some(0) => Ok(buffers[0].len()),
        first => Err(first.unwrap_or(buffers.len())),
    }
}

fn is_placeholder(bytes: &[u8]) -> bool {
    ZEROS.get().is_some_and(|zeros| zeros.as_ptr_range().contains(&bytes.as_ptr()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_a_placeholder_and_every_part_of_it() {
        let all = placeholder(MOST);
        let data = vec![0; 8];
        let (all, end) = (IoSlice::new(&all), IoSlice::new(&all[MOST - 1..]));
        let data = IoSlice::new(&data);
        assert_eq!(leading(&[all, data]), Ok(MOST));
        assert_eq!(leading(&[end, data]), Ok(1));
        assert_eq!(leading(&[data, data, all]), Err(2));
        assert_eq!(leading(&[data]), Err(1));
        assert_eq!(leading(&[]), Err(0));
    }
}

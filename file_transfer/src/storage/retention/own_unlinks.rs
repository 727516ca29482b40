//! Files with several names, of which the service has removed some. This changes the `ctime` of the
//! file, and thereby that of its other names, but it is neither a change by another program nor a
//! use of the file.

use std::collections::HashMap;

use super::seen::Seen;

/// The maximum number of listed files, all that fit into a table of 40 KB. Beyond it, the list
/// begins anew: the files count as changed then.
const MOST: usize = 448;

/// By inode.
#[derive(Default)]
pub(super) struct OwnUnlinks(HashMap<u64, Unlinked>);

/// The state of a file after the service has removed a name of it.
struct Unlinked {
    links: u32,
    bytes: u64,
    changed: i128,
    /// What its `ctime` was before.
    before: i128,
}

impl OwnUnlinks {
    /// The service has removed a name of a file.
    pub(super) fn add(&mut self, before: &Seen, after: &Seen) {
        let changed = self.changed(before);
        self.0.remove(&before.inode);
        // Otherwise another program has changed it meanwhile.
        if after.links + 1 == before.links && after.bytes == before.bytes {
            if self.0.len() == MOST {
                self.0.clear();
            }
            let Seen { links, bytes, changed: now, .. } = *after;
            self.0.insert(after.inode, Unlinked { links, bytes, changed: now, before: changed });
        }
    }

    /// The last name of a file was removed.
    pub(super) fn forget(&mut self, inode: u64) {
        self.0.remove(&inode);
    }

    /// The `ctime` that the file would have if the service had removed none of its names.
    pub(super) fn changed(&self, file: &Seen) -> i128 {
        let now = (file.links, file.bytes, file.changed);
        let own = self.0.get(&file.inode);
        own.filter(|own| (own.links, own.bytes, own.changed) == now)
            .map_or(file.changed, |own| own.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(links: u32, bytes: u64, changed: i128) -> Seen {
        Seen { inode: 1, directory: None, bytes, links, changed }
    }

    #[test]
    fn only_removals_by_the_service_are_no_changes() {
        let mut own = OwnUnlinks::default();
        own.add(&seen(4, 10, 100), &seen(3, 10, 200));
        own.add(&seen(3, 10, 200), &seen(2, 10, 300));
        assert_eq!(own.changed(&seen(2, 10, 300)), 100);
        for other in [seen(3, 10, 300), seen(2, 20, 300), seen(2, 10, 400)] {
            assert_eq!(own.changed(&other), other.changed);
        }
        // Another program adds a name before the removal, or meanwhile.
        own.add(&seen(3, 10, 400), &seen(2, 10, 500));
        assert_eq!(own.changed(&seen(2, 10, 500)), 400);
        own.add(&seen(2, 10, 500), &seen(2, 10, 600));
        assert_eq!(own.changed(&seen(2, 10, 600)), 600);
    }

    #[test]
    fn the_list_is_limited() {
        let mut own = OwnUnlinks::default();
        for inode in 0..=MOST as u64 {
            own.add(&Seen { inode, ..seen(2, 1, 1) }, &Seen { inode, ..seen(1, 1, 2) });
        }
        assert_eq!(own.0.len(), 1);
    }
}

//! The sections of the man pages about expiry and quotas of files, and about the cache.

use super::mdoc::Page;

/// The section of `tedge-file-transfer(8)`.
pub(crate) fn retention(page: &mut Page) {
    page.section("EXPIRY AND QUOTA");
    paragraphs(page, RETENTION);
}

/// The section of `tedge-c8y-proxy(8)`.
pub(crate) fn cache(page: &mut Page) {
    page.section("CACHE");
    paragraphs(page, CACHE);
}

fn paragraphs(page: &mut Page, texts: &[&str]) {
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            page.paragraph();
        }
        page.text(text);
    }
}

const RETENTION: &[&str] = &[
    "The service checks all files at start and every ten minutes, with less than 1 % of a processor. \
     It deletes only regular files, and empty directories that uploads made. It deletes no links, and \
     nothing on another file system that is mounted below the directory of files. It deletes no file \
     that it is sending or replacing, and none that another program has locked with flock(2).",
    "The age of a file counts from its last change (ctime) or its last read, whichever is later. A copy \
     of a file is therefore new, even if it keeps the old modification time. The service stores the \
     time of the last read of a file on the disk only once a day, or once per sixteenth of \
     `http.files.max_age` if that is shorter. After a restart, a file can therefore stay longer by a \
     day, or by that sixteenth. `http.files.make_room` \
     deletes the files in the order of their last use; after a restart, a read that was not stored does \
     not count for this order. On a FAT file system, a file can stay a day longer, and a copy that keeps \
     its modification time is as old as the original.",
    "The age of a file grows only while the device is on. If the clock is set, or is wrong after a \
     start, no file expires early. At the first start with `http.files.max_age` or \
     `http.files.max_total`, the service trusts the clock. It stores the time in the file \
     `.tedge-uploads-clock` in the directory of files.",
    "With `Cache-Control: max-age=SECONDS` or `Expires`, an upload can set a shorter age for its file. \
     This age counts from the upload; reading the file does not extend it. The service ignores \
     `max-age=0`, a date in the past, and an age that is longer than `http.files.max_age`. On a file \
     system without extended attributes, it ignores both fields.",
    "An upload in progress counts against `http.files.max_total` with its whole length, minus the \
     size of the file that it replaces. Files that other programs add or delete are counted at the \
     next check. Before the service refuses an upload, or deletes files for it, it checks all \
     files again, unless the last check was too recent: all such checks together take at most 2 % \
     of the time. The upload waits for the check for at most 5 seconds. GET /health reports \
     `files`, `bytes` and `limit`.",
    "With `http.files.make_room`, an upload that states no length deletes nothing until all of it has \
     arrived. Until then it takes space in addition to the stored files, but never the space that \
     `http.upload.min_free` keeps free. All uploads in progress together may need at most \
     `http.files.max_total`: an upload that does not fit beside the others is refused with 507.",
];

const CACHE: &[&str] = &[
    "With `c8y.proxy.cache.max_size`, the proxy caches the binaries that it downloads, in \
     `c8y.proxy.cache.path`. If that is not set, the systemd service caches them in \
     /var/cache/tedge-c8y-proxy. The proxy does not cache answers that are smaller than \
     `c8y.proxy.cache.min_size`, or that have `no-store`, `private` or a `Content-Encoding`. A request \
     with its own `Authorization`, `Cookie` or query does not use the cache. `tedge cache` lists and \
     drops cached binaries.",
    "Before the proxy serves a cached binary, it asks Cumulocity whether the binary is unchanged, \
     with `ETag` or `Last-Modified` of the cached binary. For a binary of the inventory that has \
     neither, it compares the length and `lastUpdated` of the managed object. If Cumulocity cannot \
     be asked, does not answer within 10 seconds, or answers 502, 503 or 504, \
     `c8y.proxy.cache.offline` applies. If the binary is unchanged, the client gets it from the \
     cache. The client gets any other answer as it is, and the binary is dropped from the cache, except \
     after 407, 408, 421, 425, 429 and server errors.",
    "A client that requests a binary while the proxy downloads it for another client gets the bytes of \
     that download. If the download began more than 5 seconds before, the proxy first asks Cumulocity \
     whether the binary is unchanged. If the connection to Cumulocity breaks, the proxy resumes the \
     download, at most five times.",
    "To make room, the proxy deletes the least recently used entries. A download without \
     `Content-Length` can also evict entries, but all such downloads together at most a quarter of \
     `c8y.proxy.cache.max_size`. Beyond that, such a download is cached only in free space. An \
     entry that is deleted while clients read it takes space until they have read it. Such entries \
     take at most another `c8y.proxy.cache.max_size`; beyond that, downloads for which there is no \
     room are not cached.",
    "If the disk is full, downloads continue and are not cached. All clients of one download then get \
     the speed of the slowest, until that client is more than 10 seconds behind: it is then \
     disconnected and must resume.",
    "The field `Cache-Status` (RFC 9211) of an answer states its source. With `fwd=stale; \
     fwd-status=304`, the answer comes from the cache, and Cumulocity has confirmed that the binary is \
     unchanged. If `tedge cache drop` drops a binary during its download, the binary is not cached.",
    "If the directory of the cache cannot be used when the proxy starts, or if other users can change \
     it, nothing is cached, and the log, `--check` and GET /health report this. The proxy tries again \
     on a reload. If the directory is removed later, the proxy makes it again for the next download.",
];

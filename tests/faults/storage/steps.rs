//! What can happen to a service and its disk, one step at a time, and how likely it is.

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;

/// Paths that nest and collide: where one needs a directory another is a file.
pub(super) const PATHS: [&str; 7] = ["a", "a/b", "a/b/c", "a/d", "e", "e/f/g/h", "e/f"];

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Put {
        path: &'static str,
        content: Content,
        envelope: Envelope,
        condition: Condition,
    },
    Get {
        path: &'static str,
        is_head: bool,
        range: Range,
        condition: Condition,
    },
    Delete {
        path: &'static str,
        condition: Condition,
    },
    /// As [`Step::Put`] and [`Step::Delete`], while calls fail or are slow.
    FaultyPut {
        path: &'static str,
        content: Content,
        fault: Fault,
    },
    FaultyDelete {
        path: &'static str,
        fault: Fault,
    },
    /// Two clients upload to one path at once.
    Race {
        path: &'static str,
        contents: [Content; 2],
    },
    /// The client goes away after so many hundredths of its upload.
    Abort {
        path: &'static str,
        content: Content,
        sent: usize,
        farewell: Farewell,
    },
    /// SIGKILL so many microseconds after an upload has begun, and a new start.
    Kill {
        path: &'static str,
        content: Content,
        after: u64,
    },
    /// SIGKILL as this call is made for the n-th time during an upload, and a new start.
    KillAt {
        path: &'static str,
        content: Content,
        call: &'static str,
        nth: usize,
    },
    /// The same during a deletion.
    KillDeleteAt {
        path: &'static str,
        call: &'static str,
    },
    /// SIGTERM in the middle of an upload, which is finished, and a new start.
    Stop {
        path: &'static str,
        content: Content,
    },
    /// All but so many bytes of the disk are used by somebody else.
    Fill {
        leave: u64,
    },
    /// They are free again.
    Empty,
    /// Somebody changes the mode of a file.
    Chmod {
        path: &'static str,
        mode: u32,
    },
}

/// Told by its seed and length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    pub(super) seed: u64,
    pub(super) length: usize,
}

impl Content {
    pub(super) fn bytes(self) -> Vec<u8> {
        crate::bytes(self.length, self.seed)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Envelope {
    Plain,
    Chunked,
    Form,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Condition {
    None,
    MatchSame,
    MatchOther,
    MatchAny,
    NoneMatchSame,
    NoneMatchOther,
    NoneMatchAny,
    UnmodifiedSinceSame,
    UnmodifiedSinceLongAgo,
    ModifiedSinceSame,
    ModifiedSinceLongAgo,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Range {
    None,
    Part(u64, u64),
    From(u64),
    Last(u64),
    Several,
    /// With an `If-Range` that names another version.
    PartOfOther,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Farewell {
    Reset,
    Close,
    HalfClose,
}

/// What strace does to a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// The n-th of each thread fails, or all where that is 0.
    Fails { call: &'static str, error: &'static str, nth: usize },
    /// Each takes so many milliseconds more.
    Slow { call: &'static str, delay: u64 },
}

impl Fault {
    /// Whether it may come after the change was made: as the directory is synced. Of an upload the
    /// content is synced first.
    pub(super) fn is_late(self, status: u16) -> bool {
        matches!(self, Self::Fails { call: "fsync", nth, .. } if nth > 0 || status == 202)
    }
}

/// All that a change of the disk calls; the names are the same on each architecture of ours.
const CALLS: [&str; 8] =
    ["fsync", "pwrite64", "renameat", "mkdirat", "openat", "fchmod", "unlinkat", "fstatfs"];

/// Around the sizes of the pieces in which files are written.
const LENGTHS: [usize; 9] = [0, 10, 1000, 12_287, 12_289, 65_535, 65_536, 65_537, 300_000];

fn path() -> impl Strategy<Value = &'static str> {
    select(&PATHS)
}

fn content() -> impl Strategy<Value = Content> {
    (0..100_u64, select(&LENGTHS)).prop_map(|(seed, length)| Content { seed, length })
}

fn envelope() -> impl Strategy<Value = Envelope> {
    prop_oneof![3 => Just(Envelope::Plain), 1 => Just(Envelope::Chunked), 1 => Just(Envelope::Form)]
}

fn condition() -> impl Strategy<Value = Condition> {
    use Condition as C;
    let conditions = [
        C::MatchSame,
        C::MatchOther,
        C::MatchAny,
        C::NoneMatchSame,
        C::NoneMatchOther,
        C::NoneMatchAny,
        C::UnmodifiedSinceSame,
        C::UnmodifiedSinceLongAgo,
        C::ModifiedSinceSame,
        C::ModifiedSinceLongAgo,
    ];
    prop_oneof![2 => Just(C::None), 1 => select(conditions.to_vec())]
}

fn range() -> impl Strategy<Value = Range> {
    let edge = || select(&[0_u64, 1, 9, 999, 12_288, 65_535, 65_536, 299_999, 300_000, u64::MAX]);
    prop_oneof![
        4 => Just(Range::None),
        3 => (edge(), edge()).prop_map(|(first, last)| Range::Part(first, last)),
        1 => edge().prop_map(Range::From),
        1 => edge().prop_map(Range::Last),
        1 => Just(Range::Several),
        1 => Just(Range::PartOfOther),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let fails = (select(&CALLS), select(&["EIO", "ENOSPC", "EDQUOT", "EROFS"]), 0..4_usize)
        .prop_map(|(call, error, nth)| Fault::Fails { call, error, nth });
    // Without an end it would be tried for ever.
    let interrupted = (select(&["pwrite64", "fsync", "openat"]), 1..3_usize)
        .prop_map(|(call, nth)| Fault::Fails { call, error: "EINTR", nth });
    let slow = (select(&CALLS), 1..40_u64).prop_map(|(call, delay)| Fault::Slow { call, delay });
    prop_oneof![6 => fails, 1 => interrupted, 2 => slow]
}

fn farewell() -> impl Strategy<Value = Farewell> {
    select(&[Farewell::Reset, Farewell::Close, Farewell::HalfClose])
}

/// Any step that makes sense on such a disk.
pub(super) fn step(is_small: bool, can_tamper: bool) -> impl Strategy<Value = Step> {
    let requests = prop_oneof![
        6 => (path(), content(), envelope(), condition()).prop_map(
            |(path, content, envelope, condition)| Step::Put { path, content, envelope, condition }
        ),
        3 => (path(), any::<bool>(), range(), condition()).prop_map(
            |(path, is_head, range, condition)| Step::Get { path, is_head, range, condition }
        ),
        2 => (path(), condition()).prop_map(|(path, condition)| Step::Delete { path, condition }),
        1 => (path(), [content(), content()])
            .prop_map(|(path, contents)| Step::Race { path, contents }),
        1 => (path(), content(), 0..=100_usize, farewell()).prop_map(
            |(path, content, sent, farewell)| Step::Abort { path, content, sent, farewell }
        ),
        1 => (path(), select(&[0o600, 0o640, 0o755]))
            .prop_map(|(path, mode)| Step::Chmod { path, mode }),
    ];
    let lives = prop_oneof![
        2 => (path(), content(), 0..8000_u64)
            .prop_map(|(path, content, after)| Step::Kill { path, content, after }),
        1 => (path(), content()).prop_map(|(path, content)| Step::Stop { path, content }),
    ];
    let fills = prop_oneof![
        2 => select(&[0_u64, 4096, 50_000, 100_000, 500_000]).prop_map(|leave| Step::Fill { leave }),
        1 => Just(Step::Empty),
    ];
    let faults = prop_oneof![
        4 => (path(), content(), fault())
            .prop_map(|(path, content, fault)| Step::FaultyPut { path, content, fault }),
        1 => (path(), fault()).prop_map(|(path, fault)| Step::FaultyDelete { path, fault }),
        2 => (path(), content(), select(&CALLS), 1..4_usize)
            .prop_map(|(path, content, call, nth)| Step::KillAt { path, content, call, nth }),
        1 => (path(), select(&["fsync", "unlinkat", "openat"]))
            .prop_map(|(path, call)| Step::KillDeleteAt { path, call }),
    ];
    let (fill, fault) = (u32::from(is_small) * 3, u32::from(can_tamper) * 5);
    // A weight of nothing would not do.
    let mut kinds = vec![(12, requests.boxed()), (2, lives.boxed())];
    kinds.extend((fill > 0).then(|| (fill, fills.boxed())));
    kinds.extend((fault > 0).then(|| (fault, faults.boxed())));
    proptest::strategy::Union::new_weighted(kinds)
}

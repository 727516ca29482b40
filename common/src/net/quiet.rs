//! Wakes that need not be heard: hyper wakes the task of a connection for each piece of a body that
//! is taken, though that task is the one that takes it, and after the last piece has nothing to do.

use std::cell::Cell;

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
    static WAS_WOKEN: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`. Wakers that ask [`is_quiet`] do nothing meanwhile, if this thread calls them. Also
/// returns whether it did.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> (T, bool) {
    let before = (IS_QUIET.replace(true), WAS_WOKEN.replace(false));
    let result = work();
    IS_QUIET.set(before.0);
    (result, WAS_WOKEN.replace(before.1))
}

/// Whether a waker that is called now is to do nothing.
pub(crate) fn is_quiet() -> bool {
    let is_quiet = IS_QUIET.get();
    if is_quiet {
        WAS_WOKEN.set(true);
    }
    is_quiet
}

//! The age clock: a clock for the age of files that does not jump. It counts the time for which the
//! device is on.
//!
//! Files have timestamps of the device's clock. That clock can be set, and on a device without a
//! battery for it, it is wrong after each start. Therefore the two clocks are compared at each
//! sweep. When the device's clock has moved differently from the time since boot, a new epoch
//! begins: from then on, the device's clock has another offset to the age clock. The epochs are
//! kept across restarts. If a timestamp can belong to several epochs, the latest counts: a file may
//! seem too young, but never too old. The time for which the device was off does not count, since
//! no clock measures it.

use std::fmt::Write as _;

/// The maximum difference of the clocks that is not a jump, in milliseconds.
const TOLERANCE: i64 = 1_000;
/// The maximum number of epochs. Beyond it, the two that differ least are merged.
const MOST_EPOCHS: usize = 64;
/// 2020, in milliseconds since 1970. A clock with an earlier time was not set.
const PLAUSIBLE: i64 = 1_577_836_800_000;

/// The time of two clocks, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// The device's clock: since 1970.
    pub(super) wall: i64,
    /// Since boot, including the time of suspension.
    pub(super) boot: i64,
}

/// The age clock. All its times are in milliseconds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AgeClock {
    /// The boot from which the time since boot counts.
    boot_id: String,
    /// The offset of the age clock to the time since boot.
    shift: i64,
    /// The epochs. The last one has not ended.
    epochs: Vec<Epoch>,
    last: Reading,
}

/// A period in which the device's clock did not jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Epoch {
    /// Its first time by the device's clock.
    start: i64,
    /// Its last time by the device's clock.
    end: i64,
    /// The offset of the age clock to the device's clock.
    offset: i64,
}

impl AgeClock {
    /// A clock that trusts the past of the device's clock.
    pub(super) fn new(boot_id: &str, now: Reading) -> Self {
        let epoch = Epoch { start: now.wall, end: now.wall, offset: 0 };
        let shift = now.wall - now.boot;
        Self { boot_id: boot_id.to_owned(), shift, epochs: vec![epoch], last: now }
    }

    /// A clock that replaces one whose record is lost: the age of existing files counts from now
    /// on.
    pub(super) fn afresh(boot_id: &str, now: Reading) -> Self {
        let mut clock = Self::new(boot_id, now);
        // An epoch before the time of all files.
        clock.epochs.insert(0, Epoch { start: PLAUSIBLE, end: PLAUSIBLE - 1, offset: 0 });
        clock
    }

    /// The time of this clock.
    pub(super) fn now(&self, boot: i64) -> i64 {
        boot + self.shift
    }

    /// The time of the device's clock at this time of the age clock.
    pub(super) fn wall(&self, now: i64) -> i64 {
        now - self.epochs.last().map_or(0, |epoch| epoch.offset)
    }

    /// Compares the clocks. Returns how far the device's clock has jumped, if it has.
    pub(super) fn check(&mut self, now: Reading) -> Option<i64> {
        let steady = self.now(now.boot);
        let elapsed = now.boot - self.last.boot;
        let epoch = self.epochs.last_mut()?;
        let jump = now.wall - (steady - epoch.offset);
        if jump.abs() <= TOLERANCE {
            epoch.end = epoch.end.max(now.wall);
            self.last = now;
            return None;
        }
        // It jumped at an unknown time since the last comparison.
        epoch.end = epoch.end.max(self.last.wall + elapsed);
        let (start, end) = (now.wall - elapsed, now.wall);
        self.begin(Epoch { start, end, offset: steady - now.wall }, now);
        Some(jump)
    }

    /// The same clock after a restart of the service, and perhaps of the device. Returns how far
    /// the device's clock has moved by itself meanwhile.
    pub(super) fn resume(&mut self, boot_id: &str, now: Reading) -> Option<i64> {
        if self.boot_id == boot_id && now.boot >= self.last.boot {
            return self.check(now);
        }
        self.shift += self.last.boot;
        boot_id.clone_into(&mut self.boot_id);
        let moved = now.wall - self.last.wall;
        let is_forward = moved >= 0;
        if let Some(epoch) = self.epochs.last_mut() {
            epoch.end = epoch.end.max(if is_forward { now.wall } else { self.last.wall });
        }
        let start = if is_forward { now.wall } else { now.wall - now.boot };
        let offset = self.now(now.boot) - now.wall;
        self.begin(Epoch { start, end: now.wall, offset }, now);
        Some(moved - now.boot).filter(|moved| moved.abs() > TOLERANCE)
    }

    /// The latest time of the age clock, up to `now`, at which a file can have got this timestamp.
    pub(super) fn latest(&self, wall: i64, now: i64) -> i64 {
        self.known(wall, now).unwrap_or_else(|| {
            // If it had got the timestamp later, the epoch would include it.
            self.epochs.last().map_or(i64::MAX, |epoch| epoch.start + epoch.offset)
        })
    }

    /// The same, if one of the epochs includes this timestamp, or if it is before all epochs.
    pub(super) fn known(&self, wall: i64, now: i64) -> Option<i64> {
        let (current, ended) = self.epochs.split_last()?;
        let holds = |epoch: &&Epoch| epoch.start <= wall && wall <= epoch.end;
        let is_current = current.start <= wall && wall + current.offset <= now + TOLERANCE;
        let epochs = ended.iter().filter(holds).chain(is_current.then_some(current));
        epochs.map(|epoch| wall + epoch.offset).max().or_else(|| {
            let first = self.epochs.first()?;
            (PLAUSIBLE <= wall && wall < first.start).then_some(wall + first.offset)
        })
    }

    fn begin(&mut self, epoch: Epoch, now: Reading) {
        self.last = now;
        self.epochs.push(epoch);
        if self.epochs.len() > MOST_EPOCHS {
            let ended = &self.epochs[..MOST_EPOCHS];
            let pairs = (1..MOST_EPOCHS).flat_map(|b| (0..b).map(move |a| (a, b)));
            let difference = |(a, b): &(usize, usize)| ended[*a].offset.abs_diff(ended[*b].offset);
            let (index, other) = pairs.min_by_key(difference).unwrap_or((0, 1));
            let other = self.epochs.remove(other);
            let epoch = &mut self.epochs[index];
            epoch.start = epoch.start.min(other.start);
            epoch.end = epoch.end.max(other.end);
            epoch.offset = epoch.offset.max(other.offset);
        }
    }

    /// Writes the clock as text, for the next start.
    pub(super) fn save(&self) -> String {
        let Self { boot_id, shift, epochs, last: Reading { wall, boot } } = self;
        let mut text = format!("{boot_id} {wall} {boot} {shift}\n");
        for Epoch { start, end, offset } in epochs {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{start} {end} {offset}");
        }
        text
    }

    /// Reads the clock from such a text. `None` if the text is invalid.
    pub(super) fn load(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (boot_id, numbers) = lines.next()?.split_once(' ')?;
        let [wall, boot, shift] = parse(numbers)?;
        let epoch = |line| parse(line).map(|[start, end, offset]| Epoch { start, end, offset });
        let epochs: Vec<Epoch> = lines.map(epoch).collect::<Option<_>>()?;
        let is_sound = (1..=MOST_EPOCHS).contains(&epochs.len());
        let last = Reading { wall, boot };
        is_sound.then(|| Self { boot_id: boot_id.to_owned(), shift, epochs, last })
    }
}

/// Three numbers, each small enough that sums of a few do not overflow.
fn parse(line: &str) -> Option<[i64; 3]> {
    let mut numbers = line
        .split(' ')
        .map(|number| number.parse().ok().filter(|number: &i64| number.unsigned_abs() < 1 << 56));
    let three = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(three)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60 * 1000;
    const YEAR: i64 = 365 * DAY;
    const TODAY: i64 = 1_764_000_000_000;

    /// A device with a clock that can be set, and what the real time is.
    struct Device {
        clock: AgeClock,
        now: Reading,
        boots: u32,
    }

    impl Device {
        fn new() -> Self {
            let now = Reading { wall: TODAY, boot: DAY };
            Self { clock: AgeClock::new("0", now), now, boots: 0 }
        }

        fn pass(&mut self, time: i64) -> &mut Self {
            self.now.wall += time;
            self.now.boot += time;
            self.clock.check(self.now);
            self
        }

        fn set(&mut self, by: i64) -> &mut Self {
            self.now.wall += by;
            self
        }

        fn restart(&mut self) -> &mut Self {
            self.clock = AgeClock::load(&self.clock.save()).unwrap();
            self.clock.resume(&self.boots.to_string(), self.now);
            self
        }

        /// Off for a while; at the next start the clock says `wall`.
        fn reboot(&mut self, wall: i64) -> &mut Self {
            self.boots += 1;
            self.now = Reading { wall, boot: 20_000 };
            self.restart()
        }

        /// The time that a file would get now.
        fn write(&self) -> i64 {
            self.now.wall
        }

        fn age(&self, file: i64) -> i64 {
            let now = self.clock.now(self.now.boot);
            now - self.clock.latest(file, now)
        }
    }

    #[test]
    fn a_clock_that_never_jumps_is_trusted() {
        let mut device = Device::new();
        let (before, file) = (TODAY - 30 * DAY, device.write());
        for _ in 0..90 * 24 {
            device.pass(DAY / 24);
        }
        assert_eq!(device.age(file), 90 * DAY);
        assert_eq!(device.age(before), 120 * DAY);
        assert_eq!(device.restart().age(file), 90 * DAY);
        assert_eq!(device.clock.epochs.len(), 1);
    }

    #[test]
    fn a_jump_ages_no_file() {
        for jump in [YEAR, -YEAR, 2 * TOLERANCE, -2 * TOLERANCE, DAY / 2, -DAY / 2] {
            for restarts in [false, true] {
                let mut device = Device::new();
                let file = device.write();
                device.pass(DAY).set(jump);
                if restarts {
                    device.restart();
                }
                device.pass(DAY / 100);
                assert!((0..=DAY + DAY / 100).contains(&device.age(file)), "{jump}");
                let later = device.write();
                device.pass(DAY);
                assert_eq!(device.age(later), DAY, "{jump}");
                device.set(-jump).pass(DAY);
                assert!(device.age(file) <= 3 * DAY + DAY / 100, "{jump}");
                assert!(device.age(later) <= 2 * DAY, "{jump}");
                device.pass(DAY);
                assert!(device.age(file) <= 4 * DAY + DAY / 100, "{jump}");
            }
        }
    }

    #[test]
    fn a_year_forward_and_back_delays_nothing() {
        let mut device = Device::new();
        let file = device.write();
        device.pass(DAY).set(YEAR).pass(DAY);
        let meanwhile = device.write();
        device.pass(DAY).set(-YEAR).pass(DAY);
        assert_eq!((device.age(file), device.age(meanwhile)), (4 * DAY, 2 * DAY));
    }

    #[test]
    fn a_device_without_a_battery_starts_in_1970() {
        let mut device = Device::new();
        let mut today = TODAY;
        let file = device.write();
        for day in 1..=100 {
            device.pass(DAY / 3);
            today += DAY;
            let booted = device.reboot(20_000).write();
            device.pass(30_000);
            assert!(device.age(booted) <= 51_000, "{day}");
            device.set(today - device.now.wall).pass(10);
        }
        let on = 100 * (DAY / 3 + 50_010);
        let age = device.age(file);
        assert!(on - 2 * DAY < age && age <= on, "{} of {} days", age / DAY, on / DAY);
    }

    #[test]
    fn time_while_the_device_is_off_does_not_count() {
        for moved in [400 * DAY, 0, -400 * DAY] {
            let mut device = Device::new();
            let file = device.write();
            device.pass(DAY).reboot(TODAY + DAY + moved).pass(DAY);
            assert!(device.age(file) <= 2 * DAY + 20_000, "{moved}");
            if moved >= 0 {
                assert_eq!(device.age(file), 2 * DAY + 20_000, "{moved}");
            }
        }
    }

    #[test]
    fn a_time_that_no_clock_had_is_as_late_as_it_can_be() {
        let mut device = Device::new();
        device.pass(DAY);
        // From a clock that was never set: at least as young as the epoch.
        assert!(device.age(60_000) <= DAY);
        // From the future.
        assert!(device.age(TODAY + YEAR) <= DAY);
        assert_eq!(device.clock.known(60_000, device.clock.now(device.now.boot)), None);
    }

    #[test]
    fn many_jumps_take_no_memory_and_age_nothing() {
        let mut device = Device::new();
        let mut files = vec![(device.write(), 0)];
        let mut real = 0;
        for number in 0..1000_i64 {
            device.pass(DAY / 10).set((number * 7_919 % 997 - 300) * 60_000).pass(DAY / 10);
            real += DAY / 5;
            files.push((device.write(), real));
            if number % 100 == 0 {
                device.restart();
            }
        }
        assert_eq!(device.clock.epochs.len(), MOST_EPOCHS);
        for (file, written) in files {
            assert!(device.age(file) <= real - written, "{written}");
        }
    }

    #[test]
    fn without_its_record_nothing_is_old() {
        let now = Reading { wall: TODAY, boot: 5_000 };
        let clock = AgeClock::afresh("a", now);
        for wall in [0, PLAUSIBLE, TODAY - YEAR, TODAY - 1, TODAY, TODAY + YEAR] {
            let age = clock.now(now.boot) - clock.latest(wall, clock.now(now.boot));
            assert_eq!(age, 0, "{wall}");
        }
        assert_eq!(AgeClock::load(&clock.save()), Some(clock));
    }

    #[test]
    fn a_text_that_is_damaged_is_refused() {
        let text = Device::new().clock.save();
        assert_eq!(AgeClock::load(&text).unwrap().save(), text);
        for end in 0..text.len() {
            assert_eq!(AgeClock::load(&text[..end]), None, "{end}");
        }
        for bad in
            ["x 1 2 3\n", "x 1 2 3\n1 2\n", "x 1 2 3\n1 2 3 4\n", "x 1 2 9999999999999999999\n"]
        {
            assert_eq!(AgeClock::load(bad), None, "{bad}");
        }
    }
}

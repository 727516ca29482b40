//! Points in time in certificates, to the second, and their text in RFC 3339.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::der::{DerReader, GENERALIZED_TIME, Malformed, UTC_TIME};

/// Seconds since 1970, UTC; shown as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(i64);

impl Time {
    /// What this device's clock says.
    pub fn now() -> Self {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Self(since.as_secs() as i64),
            Err(before) => Self(-(before.duration().as_secs() as i64)),
        }
    }

    /// This many seconds after 1970.
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since 1970.
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// This many days later.
    pub const fn plus_days(self, days: i64) -> Self {
        Self(self.0 + days * 86_400)
    }

    /// Year, month, day, hour, minute, second.
    pub fn civil(self) -> [i64; 6] {
        let (days, second) = (self.0.div_euclid(86_400), self.0.rem_euclid(86_400));
        let [year, month, day] = civil_from_days(days);
        [year, month, day, second / 3600, second / 60 % 60, second % 60]
    }

    /// Reads either form of time (RFC 5280, 4.1.2.5).
    pub(super) fn read(reader: &mut DerReader<'_>) -> Result<Self, Malformed> {
        let element = reader.any()?;
        let (year_digits, digits) = match element.tag {
            UTC_TIME => (2, element.content),
            GENERALIZED_TIME => (4, element.content),
            _ => return Err(Malformed),
        };
        let digits = digits.strip_suffix(b"Z").ok_or(Malformed)?;
        if digits.len() != year_digits + 10 || !digits.iter().all(u8::is_ascii_digit) {
            return Err(Malformed);
        }
        let number = |part: &[u8]| part.iter().fold(0, |sum, d| sum * 10 + i64::from(d - b'0'));
        let (year, rest) = digits.split_at(year_digits);
        let year = match number(year) {
            short @ 0..50 if year_digits == 2 => 2000 + short,
            short if year_digits == 2 => 1900 + short,
            full => full,
        };
        let part = |index: usize| number(&rest[index * 2..index * 2 + 2]);
        let [month, day, hour, minute, second] = [part(0), part(1), part(2), part(3), part(4)];
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
            return Err(Malformed);
        }
        let days = days_from_civil(year, month, day);
        Ok(Self(days * 86_400 + hour * 3600 + minute * 60 + second.min(60)))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [year, month, day, hour, minute, second] = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Days since 1970 of a date of the Gregorian calendar. Years are counted from March, so that the
/// leap day is the last one.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let year_of_era = year.rem_euclid(400);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> [i64; 3] {
    let days = days + 719_468;
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + days.div_euclid(146_097) * 400 + i64::from(month <= 2);
    [year, month, day]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tag: u8, text: &str) -> Result<String, Malformed> {
        let mut der = vec![tag, text.len() as u8];
        der.extend(text.as_bytes());
        Time::read(&mut DerReader::new(&der)).map(|time| time.to_string())
    }

    #[test]
    fn reads_both_forms_of_time() {
        let shown = |text: &str| Ok(text.to_owned());
        assert_eq!(read(UTC_TIME, "700101000000Z"), shown("1970-01-01T00:00:00Z"));
        assert_eq!(read(UTC_TIME, "491231235959Z"), shown("2049-12-31T23:59:59Z"));
        assert_eq!(read(UTC_TIME, "500101000000Z"), shown("1950-01-01T00:00:00Z"));
        assert_eq!(read(GENERALIZED_TIME, "20240229123456Z"), shown("2024-02-29T12:34:56Z"));
        assert_eq!(read(GENERALIZED_TIME, "99991231235959Z"), shown("9999-12-31T23:59:59Z"));
        assert_eq!(read(GENERALIZED_TIME, "00000101000000Z"), shown("0000-01-01T00:00:00Z"));
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in ["", "Z", "7001010000Z", "701301000000Z", "70010100000aZ", "700101000000+0100"]
        {
            assert_eq!(read(UTC_TIME, text), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn counts_every_day_once() {
        for days in -800_000..800_000 {
            let [year, month, day] = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }
}

//! The age that an upload sets for its file, in `Cache-Control: max-age` or `Expires` (RFC 9111).

use std::time::SystemTime;

use common::http::{HeaderMap, header};

/// The age in seconds from `now`. `max-age` overrides `Expires`. Zero, a past date and malformed
/// values are ignored: browsers send `max-age=0` when they reload a page, and clocks differ.
pub(super) fn of(fields: &HeaderMap, now: SystemTime) -> Option<u64> {
    let directives = fields.get_all(header::CACHE_CONTROL).into_iter();
    let mut ages = directives.filter_map(|field| field.to_str().ok()).flat_map(|field| {
        field.split(',').filter_map(|directive| {
            let (name, value) = directive.trim().split_once('=')?;
            let is_age = name.eq_ignore_ascii_case("max-age");
            is_age.then(|| value.trim_matches('"').parse().unwrap_or(0))
        })
    });
    let age: Option<u64> = ages.next();
    let expires = || {
        let date = httpdate::parse_http_date(fields.get(header::EXPIRES)?.to_str().ok()?).ok()?;
        Some(date.duration_since(now).ok()?.as_secs())
    };
    age.or_else(expires).filter(|age| *age > 0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_upload_may_say_how_long_its_file_stays() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let now = httpdate::parse_http_date(date).unwrap() - Duration::from_secs(60);
        for (cache_control, expires, age) in [
            (&[][..], "", None),
            (&["max-age=5"], "", Some(5)),
            (&["no-cache, Max-Age=\"7\" , private"], "", Some(7)),
            (&["private", "max-age=8"], "", Some(8)),
            (&["max-age=5"], date, Some(5)),
            (&["no-store"], date, Some(60)),
            (&["max-age=0"], date, None),
            (&["max-age=-1"], "", None),
            (&["max-age=1.5, max-age=9"], "", None),
            (&["s-maxage=5"], "", None),
            (&["max-age"], "", None),
            (&[], "0", None),
            (&[], "Sun, 06 Nov 1994 08:48:37 GMT", None),
        ] {
            let mut fields = HeaderMap::new();
            for value in cache_control {
                fields.append(header::CACHE_CONTROL, value.parse().unwrap());
            }
            if !expires.is_empty() {
                fields.insert(header::EXPIRES, expires.parse().unwrap());
            }
            assert_eq!(of(&fields, now), age, "{cache_control:?} {expires}");
        }
    }
}

//! The input is a key, a blank and a value on a line, then tedge.toml, and behind lines of dashes
//! the mapper's file and ours. What is read is of its kind or refused with its place; a change of
//! one setting sets that one and no other.

use std::fs;
use std::path::{Path, PathBuf};

use crate::settings::{SETTINGS, Settings, Values, change, find};

/// A directory that goes with what is in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let thread = format!("{:?}", std::thread::current().id());
        let name = format!("tedge-fuzz-{}-{thread}", std::process::id());
        let directory = base.join(name.replace(['(', ')'], "-"));
        fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn write(&self, name: &str, text: Option<&str>) {
        let Some(text) = text else { return };
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Panics where something does not hold.
pub fn check(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let (line, text) = input.split_once('\n').unwrap_or((input, ""));
    // No device file, where one stands for endless bytes or nobody to send them.
    if input.contains("/dev/") || input.contains("/proc/") || input.contains("/sys/") {
        return;
    }
    let mut files = text.split("\n---\n");
    let directory = Directory::new();
    directory.write("tedge.toml", files.next());
    directory.write("mappers/c8y/mapper.toml", files.next());
    directory.write("tedge-http.toml", files.next());
    let directory = directory.0.as_path();

    let values = Values::read(directory, Vec::new(), &[]);
    let loaded = Settings::load(directory, Vec::new(), &[]);
    let values = match values {
        Ok(values) => values,
        Err(error) => {
            assert!(loaded.is_err());
            let said = error.to_string();
            assert!(said.contains(".toml, line "), "it names no place: {said}");
            return;
        }
    };
    let refusals: Vec<_> =
        SETTINGS.iter().filter_map(|setting| values.check(setting).err()).collect();
    assert_eq!(loaded.is_ok(), refusals.is_empty(), "{refusals:?}");
    for refusal in refusals {
        assert!(refusal.to_string().contains(".toml, line "), "it names no place: {refusal}");
    }
    check_change(directory, line, &values);
}

fn check_change(directory: &Path, line: &str, before: &Values) {
    let (key, value) = line.split_once(' ').unwrap_or((line, ""));
    let Some(setting) = find(key) else { return };
    if !value.is_empty() && !(setting.kind.is_valid)(value) {
        return;
    }
    let new = (!value.is_empty()).then(|| value.to_owned());
    let changed = change(directory, None, setting, |old| {
        assert_eq!(old, before.written(setting));
        new.clone()
    });
    let after = Values::read(directory, Vec::new(), &[]).unwrap();
    if changed.is_ok() {
        // A file has no leading zeros.
        let number =
            |text: &str| text.parse().map_or_else(|_| text.to_owned(), |n: u128| n.to_string());
        assert_eq!(after.written(setting).map(number), new.as_deref().map(number), "{key}");
        assert!(new.is_none() || after.check(setting).is_ok(), "{key} cannot be read back");
    }
    for other in SETTINGS {
        if other.key != setting.key {
            assert_eq!(after.written(other), before.written(other), "{} changed", other.key);
        }
    }
}

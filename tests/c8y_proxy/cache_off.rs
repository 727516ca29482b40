//! Without `c8y.proxy.cache.max_size` there is no cache: no directory, no thread, no memory, no
//! field.

use crate::support::cached::{self, LENGTH, PATH, assert_all, get};
use crate::support::cloud::artifact::Artifact;
use crate::support::device::{Device, SOON};
use crate::support::wait::eventually;

#[test]
fn without_the_setting_nothing_is_kept() {
    let device = Device::with(|setup| {
        let data = setup.directory().join("data");
        std::fs::create_dir(&data).unwrap();
        setup.set("data.path", data);
        setup.set_own_path("c8y.proxy.cache.path", setup.directory().join("cache"));
        setup.set_own("c8y.proxy.cache.offline", "\"1h\"");
    });
    device.warm();
    let artifact = Artifact::new(1, LENGTH);
    device.cloud().serve(PATH, &artifact);
    for _ in 0..2 {
        let answer = get(&device, PATH);
        assert_all(&answer, &artifact);
        assert_eq!(answer.values("cache-status"), [&b""[..]; 0]);
        assert_eq!(answer.values("age"), [&b""[..]; 0]);
    }
    assert_eq!(device.cloud().sent(PATH), 2 * LENGTH);
    assert!(!device.proxy.path("cache").exists());
    let made: Vec<_> = std::fs::read_dir(device.proxy.path("data")).unwrap().collect();
    assert_eq!(made.len(), 0, "{made:?}");
    let health = device.get("/health").text();
    assert!(!health.contains("entries"), "{health}");
}

#[test]
fn a_cache_at_rest_has_no_thread_of_its_own() {
    let threads = [Device::start(), cached::start()].map(|device| {
        device.warm();
        eventually("the pool's threads are gone", SOON * 2, || device.proxy.threads() <= 4);
        device.proxy.threads()
    });
    assert_eq!(threads[0], threads[1]);
}

//! Symbolic links to files below the data directory, as thin-edge.io's agents make them.

use std::fs;
use std::os::unix::fs::symlink;

use super::Service;

#[test]
#[expect(clippy::disallowed_methods, reason = "no executor waits here")]
fn a_link_to_a_file_below_the_data_directory_is_that_file() {
    for service in [Service::new(), Service::without_openat2()] {
        let data = service.directory.parent().unwrap().to_owned();
        fs::create_dir(data.join("cache")).unwrap();
        let cached = data.join("cache/key");
        fs::write(&cached, "firmware").unwrap();
        service.put_on_disk("other", b"other");
        service.put_on_disk("child/update/x", b"");
        for (target, content) in [
            (cached.to_str().unwrap(), "firmware"),
            ("../../../cache/key", "firmware"),
            ("./../..//other", "other"),
            (service.path("other").to_str().unwrap(), "other"),
        ] {
            let link = service.path("child/update/key");
            symlink(target, &link).unwrap();
            let get = service.get("child/update/key", &[]);
            assert_eq!(get.said(), (200, content), "{target}");
            assert_eq!(service.get("child/update/key", &[]).said(), (200, content));
            let fields = [("if-match", get.field("etag"))];
            assert_eq!(service.put("child/update/key", &[("if-match", "\"x\"")], "").status, 412);

            assert_eq!(service.put("child/update/key", &fields, "new").status, 201, "{target}");
            assert!(link.symlink_metadata().unwrap().is_file());
            assert_eq!(super::mode(&link), 0o644);
            assert_eq!(service.get("child/update/key", &[]).text(), "new");

            fs::remove_file(&link).unwrap();
            symlink(target, &link).unwrap();
            assert_eq!(service.delete("child/update/key", &fields).status, 202, "{target}");
            assert!(!link.is_symlink());
        }
        assert_eq!(fs::read_to_string(cached).unwrap(), "firmware");
        assert_eq!(service.on_disk("other").unwrap(), "other");
    }
}

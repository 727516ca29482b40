//! A file system that is mounted below the directory.

use std::process::Command;

use super::{Service, Then, new_directory};

const INSIDE: &str = "FILE_TRANSFER_TEST_DIRECTORY";

/// Runs itself again in a mount namespace of its own.
#[test]
fn a_file_system_below_the_directory_takes_uploads() {
    if let Some(directory) = std::env::var_os(INSIDE) {
        return inside(directory.into());
    }
    let directory = new_directory();
    let parent = directory.parent().unwrap().to_owned();
    let mount = "mkdir -p -m 755 \"$0/card/sub\" && mount -t tmpfs -o size=256k none \"$0/card\" && \
                 mkdir \"$0/card/.tedge-uploads\" && touch \"$0/card/.tedge-uploads/1-1\" && \
                 exec \"$1\" --exact tests::mounts::a_file_system_below_the_directory_takes_uploads";
    let run = Command::new("unshare")
        .args(["--mount", "--map-root-user", "--user", "sh", "-c", mount])
        .arg(&directory)
        .arg(std::env::current_exe().unwrap())
        .env(INSIDE, &directory)
        .output()
        .unwrap();
    std::fs::remove_dir_all(parent).unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&run.stderr));
}

fn inside(directory: std::path::PathBuf) {
    let service = Service::over(directory);
    let reserved = service.path("card/.tedge-uploads");
    assert_eq!(std::fs::read_dir(&reserved).unwrap().count(), 0, "leftovers stay");

    for name in ["a", "card/a", "card/new/sub/a"] {
        assert_eq!(service.put(name, &[], "x").status, 201, "{name}");
        assert_eq!(service.put(name, &[], "y").status, 201, "{name}");
        assert_eq!(service.get(name, &[]).text(), "y");
        assert_eq!(service.delete(name, &[]).status, 202);
    }

    let large = "x".repeat(100_000);
    assert_eq!(service.put("card/a", &[], "old").status, 201);
    let full = super::chunks(&[&large, &large, &large], Then::End);
    assert_eq!(service.send("PUT", "/te/v1/files/card/a", &[], full).status, 507);
    assert_eq!(service.on_disk("card/a").unwrap(), "old");
    service.assert_no_leftovers_in("card");
    // So that the directory can be removed from outside as well.
    std::mem::forget(service);
}

//! What `tedge config set` and its like do to a file, and what they leave alone.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::{Command, Stdio};

use crate::support::tedge::{Device, as_nobody, copy_for_everybody, run};

const ODD: &str = "# Ours since 2021.\n\n   [http]   # transfers\n\n\tcert_path=   '/a.crt'  # new\n\
                   key_path = \"\"\"/a.key\"\"\"\nca_cert=\"theirs\"\n[http . bind]\n  \"port\" \
                   = 8_000\n\n\n[az]\nurl = \"z\"\n\n# the end\n";

fn mode(device: &Device, name: &str) -> u32 {
    fs::metadata(device.path(name)).unwrap().mode() & 0o7777
}

#[test]
fn everything_else_stays_as_it_was() {
    let device = Device::new().with("tedge.toml", ODD);
    assert_eq!(device.get("http.bind.port"), "8000");
    for (arguments, old, new) in [
        (&["set", "http.cert_path", "/b.crt"][..], "'/a.crt'", "\"/b.crt\""),
        (&["set", "http.bind.port", "8080"], "8_000", "8080"),
        (
            &["set", "http.ca_path", "/ca"],
            "ca_cert=\"theirs\"\n",
            "ca_cert=\"theirs\"\nca_path = \"/ca\"\n",
        ),
        (&["unset", "http.key_path"], "key_path = \"\"\"/a.key\"\"\"\n", ""),
        (&["unset", "http.cert_path"], "\tcert_path=   \"/b.crt\"  # new", "# new"),
        (
            &["add", "proxy.no_proxy", "a"],
            "# the end\n",
            "# the end\n\n[proxy]\nno_proxy = \"a\"\n",
        ),
    ] {
        let before = device.text("tedge.toml");
        let done = device.tedge(&[&["config"], arguments].concat());
        assert_eq!((done.code, done.out.as_str()), (Some(0), ""), "{done:?}");
        assert_eq!(device.text("tedge.toml"), before.replace(old, new), "{arguments:?}");
    }
}

#[test]
fn a_value_that_is_there_already_is_not_written_again() {
    let device = Device::new().with("tedge.toml", ODD);
    let inode = fs::metadata(device.path("tedge.toml")).unwrap().ino();
    device.tedge(&["config", "set", "http.cert_path", "/a.crt"]).silent_success();
    device.tedge(&["config", "set", "http.bind.port", "8000"]).silent_success();
    device.tedge(&["config", "unset", "c8y.url"]).silent_success();
    assert_eq!(device.text("tedge.toml"), ODD);
    assert_eq!(fs::metadata(device.path("tedge.toml")).unwrap().ino(), inode);
}

#[test]
fn each_key_goes_where_it_lives() {
    let device = Device::new();
    let set = |key: &str, value: &str| {
        assert_eq!(device.tedge(&["config", "set", key, value]).code, Some(0));
    };
    set("c8y.url", "one.example.com");
    set("http.crl_path", "/crl");
    set("http.upload.max_size", "20M");
    set("http.upload.min_free", "1000");
    set("http.upload.sync", "false");
    assert_eq!(device.text("tedge.toml"), "[c8y]\nurl = \"one.example.com\"\n");
    let own = "[http]\ncrl_path = \"/crl\"\n\n[http.upload]\nmax_size = \"20M\"\n\
               min_free = 1000\nsync = false\n";
    assert_eq!(device.text("tedge-http.toml"), own);

    let device = device.with("mappers/c8y/mapper.toml", "# mapper\n");
    let done = device.tedge(&["config", "set", "c8y.url", "two.example.com"]);
    assert_eq!(done.code, Some(0));
    assert_eq!(device.text("tedge.toml"), "[c8y]\nurl = \"one.example.com\"\n");
    assert_eq!(device.text("mappers/c8y/mapper.toml"), "url = \"two.example.com\"\n# mapper\n");
    device.tedge(&["config", "set", "c8y.proxy.bind.port", "8009"]);
    let mapper = device.text("mappers/c8y/mapper.toml");
    assert!(mapper.contains("[proxy.bind]\nport = 8009\n"), "{mapper}");
    device.tedge(&["config", "set", "c8y.proxy.crl_path", "/crl"]);
    assert!(device.text("tedge-http.toml").contains("[c8y.proxy]\ncrl_path = \"/crl\"\n"));
}

#[test]
fn the_file_of_any_profile_moves_the_cloud_to_the_mappers_file() {
    let device = Device::new()
        .with("mappers/c8y.edge/mapper.toml", "url = \"edge.example.com\"\n")
        .with("mappers/c8yx/mapper.toml", "url = \"no.example.com\"\n")
        .with("tedge.toml", "c8y.url = \"old.example.com\"\n");
    let done = device.tedge(&["config", "get", "c8y.url"]);
    done.failed(1, &["is not set", "[c8y] in", "c8y.edge/mapper.toml exists"]);
    let done = device.tedge(&["config", "set", "c8y.url", "new.example.com"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(device.text("mappers/c8y/mapper.toml"), "url = \"new.example.com\"\n");
    assert_eq!(device.text("mappers/c8y.edge/mapper.toml"), "url = \"edge.example.com\"\n");
    assert_eq!(device.text("tedge.toml"), "c8y.url = \"old.example.com\"\n");
    assert_eq!(device.tedge(&["config", "get", "c8y.url"]).out, "new.example.com\n");
    // What only looks like one moves nothing.
    let device = Device::new().with("mappers/c8yx/mapper.toml", "");
    device.tedge(&["config", "set", "c8y.url", "new.example.com"]);
    assert_eq!(device.text("tedge.toml"), "[c8y]\nurl = \"new.example.com\"\n");
}

#[test]
fn a_key_moves_home_and_out_of_its_old_spelling() {
    let text = "http.port = 1 # old\nhttp.crl_path = \"/a\"\n";
    let device = Device::new().with("tedge.toml", text);
    device.tedge(&["config", "set", "http.bind.port", "2"]);
    device.tedge(&["config", "set", "http.crl_path", "/b"]);
    assert_eq!(device.text("tedge.toml"), "# old\nhttp.bind.port = 2\n");
    assert_eq!(device.get("http.crl_path"), "/b");
    device.tedge(&["config", "unset", "http.crl_path"]);
    device.tedge(&["config", "get", "http.crl_path"]).failed(1, &["is not set"]);
}

#[test]
fn a_path_is_made_absolute_and_need_not_exist() {
    let device = Device::new();
    device.tedge(&["config", "set", "http.cert_path", "certs/./a.crt"]);
    let expected = device.directory.join("certs/a.crt").into_os_string().into_string().unwrap();
    assert_eq!(device.get("http.cert_path"), expected);
}

#[test]
fn a_bad_value_is_exit_1_and_nothing_is_written() {
    let device = Device::new();
    for (key, value, said) in [
        ("http.bind.port", "65536", "a port number"),
        ("http.bind.port", "", "a port number"),
        ("http.bind.address", "localhost", "an IP address"),
        ("http.cert_path", "", "a path"),
        ("http.upload.sync", "yes", "true or false"),
        ("http.upload.max_size", "1.5G", "a number of bytes"),
        ("http.upload.min_free", "101%", "a percentage"),
        ("http.connections.max", "1", "at least 2"),
        ("c8y.url", "https://example.com", "without https://"),
        ("c8y.auth_method", "jwt", "certificate, basic or auto"),
        ("proxy.address", "socks5://proxy:1", "http://host:port"),
    ] {
        let done = device.tedge(&["config", "set", key, value]);
        done.failed(1, &[&format!("{key} cannot be '{value}'"), said]);
        device.tedge(&["config", "add", key, value]).failed(1, &[said]);
    }
    assert_eq!(fs::read_dir(device.config_dir()).unwrap().count(), 0);
}

#[test]
fn a_broken_file_is_left_alone() {
    let device = Device::new().with("tedge.toml", "http = \n");
    device.tedge(&["config", "set", "c8y.url", "x"]).failed(78, &["tedge.toml, line 1, column "]);
    assert_eq!(device.text("tedge.toml"), "http = \n");
}

#[test]
fn lists_grow_and_shrink_and_single_values_do_as_in_thin_edge() {
    let device = Device::new();
    let config = |words: &[&str]| {
        assert_eq!(device.tedge(&[&["config"], words].concat()).code, Some(0), "{words:?}");
    };
    config(&["add", "proxy.no_proxy", "localhost"]);
    config(&["add", "proxy.no_proxy", ".local, localhost"]);
    assert_eq!(device.get("proxy.no_proxy"), "localhost,.local");
    config(&["remove", "proxy.no_proxy", "localhost,other"]);
    assert_eq!(device.get("proxy.no_proxy"), ".local");
    config(&["remove", "proxy.no_proxy", ".local"]);
    device.tedge(&["config", "get", "proxy.no_proxy"]).failed(1, &["is not set"]);

    config(&["add", "http.cert_path", "a"]);
    config(&["remove", "http.cert_path", "b"]);
    assert!(device.get("http.cert_path").ends_with("/a"));
    config(&["remove", "http.cert_path", "a"]);
    device.tedge(&["config", "get", "http.cert_path"]).failed(1, &["is not set"]);

    let device = device.with("tedge.toml", "proxy.no_proxy = [\"a\", \"b\"]\n");
    device.tedge(&["config", "add", "proxy.no_proxy", "c"]);
    assert_eq!(device.text("tedge.toml"), "proxy.no_proxy = \"a,b,c\"\n");
}

#[test]
fn fifty_writers_at_once_lose_nothing() {
    let device = Device::new().with("tedge.toml", ODD);
    let mut writers: Vec<_> = (0..50)
        .map(|number| {
            let host = format!("host-{number}");
            device
                .command(&["config", "add", "proxy.no_proxy", &host])
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    writers.extend((0..10).map(|number| {
        let key = ["http.client.port", "c8y.proxy.bind.port"][number % 2];
        device
            .command(&["config", "set", key, &number.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }));
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
    let mut hosts: Vec<_> = device.get("proxy.no_proxy").split(',').map(str::to_owned).collect();
    hosts.sort();
    let mut expected: Vec<_> = (0..50).map(|number| format!("host-{number}")).collect();
    expected.sort();
    assert_eq!(hosts, expected);
    assert_ne!(device.get("http.client.port"), "8000");
    assert_ne!(device.get("c8y.proxy.bind.port"), "8001");
    assert_eq!(fs::read_dir(device.config_dir()).unwrap().count(), 1);
}

#[test]
fn a_new_file_is_0644_whatever_the_mask() {
    let device = Device::new();
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 077; ./tedge --config-dir etc config set data.path /d"]);
    assert_eq!(run(shell.current_dir(&device.directory)).code, Some(0));
    assert_eq!(mode(&device, "tedge.toml"), 0o644);
}

#[test]
fn mode_owner_and_symbolic_link_are_kept() {
    let device = Device::new().with("real/file.toml", "# x\n");
    symlink("real/file.toml", device.path("tedge.toml")).unwrap();
    fs::set_permissions(device.path("real/file.toml"), fs::Permissions::from_mode(0o640)).unwrap();
    let is_root = fs::metadata(&device.directory).unwrap().uid() == 0;
    if is_root {
        chown(device.path("real/file.toml"), Some(65534), Some(65533)).unwrap();
    }
    device.tedge(&["config", "set", "data.path", "/d"]);
    assert!(fs::symlink_metadata(device.path("tedge.toml")).unwrap().is_symlink());
    assert_eq!(device.text("real/file.toml"), "# x\n\n[data]\npath = \"/d\"\n");
    assert_eq!(mode(&device, "tedge.toml"), 0o640);
    if is_root {
        let metadata = fs::metadata(device.path("tedge.toml")).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (65534, 65533));
    }
}

#[test]
fn a_directory_that_may_not_be_written_is_exit_1() {
    let device = Device::new().with("tedge.toml", "# x\n");
    let mut command = Command::new(copy_for_everybody(&device));
    command.arg("--config-dir").arg(device.config_dir()).args(["config", "set", "data.path", "/d"]);
    if as_nobody(&device, &mut command) {
        let message =
            format!("cannot write {}: Permission denied", device.path("tedge.toml").display());
        run(&mut command).failed(1, &[&message]);
        assert_eq!(device.text("tedge.toml"), "# x\n");
    }
    let missing = device.tedge(&["--config-dir", "/nowhere", "config", "set", "data.path", "/d"]);
    missing.failed(1, &["/nowhere"]);
}

#[test]
fn what_a_power_cut_left_is_no_hindrance() {
    let device = Device::new().with(".tedge.toml.new", "half");
    device.tedge(&["config", "set", "data.path", "/d"]);
    assert_eq!(device.get("data.path"), "/d");
    assert!(!device.path(".tedge.toml.new").exists());
}

#[test]
fn set_says_which_service_to_restart() {
    let device = Device::new();
    let set = |key, value| device.tedge(&["config", "set", key, value]);
    set("http.bind.port", "8080").warned_once(&["systemctl restart tedge-file-transfer"]);
    set("http.bind.port", "8080").silent_success();
    set("c8y.url", "example.com").warned_once(&["systemctl restart tedge-c8y-proxy"]);
    set("http.client.host", "example.com").silent_success();
}

#[test]
fn the_environment_is_never_written_and_said_to_win() {
    let device = Device::new();
    let variable = ("TEDGE_HTTP_BIND_PORT", "9");
    let done = device.tedge_with(variable, &["config", "set", "http.bind.port", "8080"]);
    assert!(
        done.err.contains("the environment variable TEDGE_HTTP_BIND_PORT overrides this"),
        "{done:?}"
    );
    device.tedge_with(variable, &["config", "set", "data.path", "/d"]);
    assert_eq!(device.text("tedge.toml"), "[http.bind]\nport = 8080\n\n[data]\npath = \"/d\"\n");
}

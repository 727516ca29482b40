//! `tedge http … /c8y/…`: the same line on the main device, where the proxy is, and on a child.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::certificates::{Authority, Key};
use crate::support::cloud::Cloud;
use crate::support::device::{PROGRAM, certificates, options};
use crate::support::directory::Directory;
use crate::support::machine::{MAIN, Machine};
use crate::support::service::Service;

/// A cloud at the loopback address of a machine.
fn cloud_on(machine: &Machine) -> Cloud {
    let listener = machine.inside(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let mut options = options();
    options.user = Some(("t1/ben".into(), "secret".into()));
    Cloud::on(listener, options).unwrap()
}

fn serve(machine: &Machine, directory: &Path) -> Service {
    Service::start(PROGRAM, |setup| {
        let enter = machine.enter();
        setup.wrap(&enter.iter().map(String::as_str).collect::<Vec<_>>());
        // The last of two counts.
        setup.argument("--config-dir");
        setup.argument(directory.to_str().unwrap());
    })
}

/// What `tedge http` prints on a machine: code, output and complaint.
fn http(machine: &Machine, directory: &Path, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(PROGRAM);
    command.args(["tedge", "--config-dir"]).arg(directory).arg("http").args(words);
    let output = machine.command(&command).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn every_line_works(machines: &[Machine; 2], directories: [&Path; 2]) {
    for (machine, directory) in machines.iter().zip(directories) {
        let (code, out, err) = http(machine, directory, &["get", "/c8y/tenant/currentTenant"]);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.contains("t12345"), "{out}");
        let event = "{\"type\": \"ü\", \"text\": \"x\", \"time\": \"2026-01-01T00:00:00Z\", \
                     \"source\": {\"id\": \"1\"}}";
        let (code, out, err) = http(machine, directory, &["post", "/c8y/event/events", event]);
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        let (code, out, err) = http(machine, directory, &["get", "/c8y/no/such/thing"]);
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.contains("HTTP client error: 404 Not Found"), "{err}");
    }
}

#[test]
fn the_same_line_reaches_the_cloud_from_main_device_and_child_at_every_level() {
    let Some(machines) = Machine::pair() else {
        eprintln!("skipped: no namespace can be made here");
        return;
    };
    let [main, child] = [Directory::new(), Directory::new()];
    let directories = [main.path(), child.path()];
    let cloud = cloud_on(&machines[0]);
    let secret =
        main.write("credentials.toml", "[c8y]\nusername = \"t1/ben\"\npassword = \"secret\"\n");
    fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).unwrap();

    let local = Authority::new(main.path(), "tedge-local-ca");
    let roots = main.path().join("roots.pem");
    let both = [&certificates().ca, &local.cert].map(|ca| fs::read_to_string(ca).unwrap());
    fs::write(&roots, both.concat()).unwrap();
    let base = format!(
        "c8y.http = \"localhost:{}\"\nc8y.auth_method = \"basic\"\nc8y.root_cert_path = {roots:?}\n\
         c8y.proxy.bind.address = \"::\"\n",
        cloud.address().port()
    );
    // All that a child has to know.
    let known =
        format!("c8y.proxy.client.host = \"{MAIN}\"\nc8y.root_cert_path = {:?}\n", local.cert);
    main.write("tedge.toml", &base);
    child.write("tedge.toml", &known);
    let proxy = serve(&machines[0], main.path());
    assert_eq!(proxy.scheme, "http");
    every_line_works(&machines, directories);
    drop(proxy);

    let names = format!("DNS:{MAIN},DNS:localhost,IP:127.0.0.1");
    let pair = local.server_for("c8y-mapper", &names);
    let tls = format!(
        "{base}c8y.proxy.cert_path = {:?}\nc8y.proxy.key_path = {:?}\n",
        pair.cert, pair.key
    );
    main.write("tedge.toml", &tls);
    let proxy = serve(&machines[0], main.path());
    assert_eq!(proxy.scheme, "https");
    every_line_works(&machines, directories);
    drop(proxy);

    let client = local.client("tedge-client", Key::P256);
    let shown = format!(
        "http.client.auth.cert_file = {:?}\nhttp.client.auth.key_file = {:?}\n",
        client.cert, client.key
    );
    main.write("tedge.toml", format!("{tls}c8y.proxy.ca_path = {:?}\n{shown}", local.cert));
    let proxy = serve(&machines[0], main.path());
    let (code, _, err) = http(&machines[1], child.path(), &["get", "/c8y/tenant/currentTenant"]);
    assert_eq!(code, 1);
    assert!(err.contains("requires a certificate") && err.contains("http.client.auth"), "{err}");
    child.write("tedge.toml", format!("{known}{shown}"));
    every_line_works(&machines, directories);
    drop(proxy);
}

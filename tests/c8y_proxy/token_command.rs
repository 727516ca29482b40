//! `tedge c8y token`: whether there is a token, which user it belongs to and where it came from.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::support::cloud::access_tokens::{PATH, Trust};
use crate::support::cloud::{Cloud, Options, Script};
use crate::support::device::{Device, Outside, PROGRAM, Source, certificates, options};
use crate::support::directory::Directory;

/// Code, output and complaint of the command, with the settings of the device's proxy.
fn token(device: &Device, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(PROGRAM);
    command.env_clear().args(["tedge", "--config-dir"]).arg(device.proxy.directory().path());
    let output = command.args(["c8y", "token"]).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn says_whom_it_is_for_and_from_where_and_nothing_secret() {
    let device = Device::of(Source::Auto);
    let broker = format!("the broker at {}", device.outside.broker.address());
    let endpoint = format!("localhost:{}", device.endpoint().address().port());
    for (source, from) in [("mqtt", &broker), ("https", &endpoint), ("auto", &broker)] {
        let (code, out, err) = token(&device, &["--source", source]);
        assert_eq!((code, err.as_str()), (0, ""), "{source}: {out}");
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(
            lines[..2],
            ["for    device_stand-in, tenant t12345", &format!("from   {from}")]
        );
        assert!(lines[2].starts_with("until  20") && lines[2].ends_with('Z'), "{out}");
        assert_eq!(lines.len(), 3);
    }
    // The setting says where from, and the proxy has its own.
    assert!(token(&device, &[]).1.contains(&broker));
    assert_eq!(device.cloud().tokens().issued(), 4);
}

#[test]
fn prints_a_token_that_cumulocity_accepts() {
    for source in [Source::Mqtt, Source::Https] {
        let device = Device::of(source);
        let (code, out, err) = token(&device, &["--print"]);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(device.cloud().tokens().accepts(out.strip_suffix('\n').unwrap()), "{out}");
    }
}

#[test]
fn says_why_there_is_none() {
    let device = Device::of(Source::Https);
    let refusal = Script::answer("404 Not Found", b"").without_a_token();
    device.endpoint().answer(PATH, refusal);
    let (code, out, err) = token(&device, &[]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.starts_with("Error: no token from localhost:"), "{err}");
    assert!(err.contains("tedge config set c8y.proxy.token_source mqtt"), "{err}");

    let (code, _, err) = token(&device, &["--source", "ftp"]);
    assert_eq!(code, 2);
    assert!(err.contains("unknown source 'ftp': mqtt, https or auto"), "{err}");

    let device = Device::among(Outside::new(), |setup| {
        let file = setup.directory().join("credentials.toml");
        fs::write(file, "[c8y]\nusername = \"a\"\npassword = \"secret\"\n").unwrap();
        setup.set("c8y.auth_method", "auto");
    });
    let (code, _, err) = token(&device, &["--source", "https"]);
    assert_eq!(code, 1);
    assert!(err.contains("credentials.toml, so there is no token"), "{err}");
}

#[test]
fn shows_no_control_characters_of_a_token() {
    let device = Device::of(Source::Https);
    let claims = r#"{"sub":"\u001b[31mx\u0007\nuntil  never","ten":"\u202e","exp":2000000000}"#;
    let jwt = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
    let answer = format!(r#"{{"accessToken":"{jwt}"}}"#);
    device.endpoint().answer(PATH, Script::answer("200 OK", answer.as_bytes()).without_a_token());
    let (code, out, err) = token(&device, &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    let first = r"for    \u{1b}[31mx\u{7}\u{a}until  never, tenant \u{202e}";
    assert_eq!(out.lines().next(), Some(first), "{out}");
    assert_eq!(out.lines().count(), 3);
}

/// The commands of the README's section on a device without a broker.
fn readme() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let text = fs::read_to_string(path).unwrap();
    let section = text.split("\n### A device without a broker\n").nth(1).unwrap();
    let block = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    block.lines().map(str::to_owned).collect()
}

#[test]
fn the_readme_leads_from_nothing_to_a_managed_object_in_eight_commands() {
    let commands = readme();
    assert!(commands.len() <= 8, "{commands:#?}");
    let directory = Directory::new();
    let etc = directory.path().join("etc");
    fs::create_dir(&etc).unwrap();
    for name in ["tedge", "tedge-c8y-proxy"] {
        symlink(PROGRAM, directory.path().join(name)).unwrap();
    }
    let uploaded = etc.join("device-certs/tedge-certificate.pem");
    let cloud = Cloud::start(options()).unwrap();
    let trust = Trust { authority: uploaded, revoked: None };
    let endpoint = cloud.start_beside(Options { trust: Some(trust), ..options() }).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    // Nothing is installed here, and the unit is a process that ends with the script.
    let script = format!(
        "set -e\napt() {{ :; }}\nsystemctl() {{\n  tedge-c8y-proxy 2>log & trap \"kill $!\" EXIT\n  \
         until grep -q Serving log; do sleep 0.05; done\n}}\n{}\n",
        commands.join("\n")
    );
    let script = script.replace("/etc/tedge", etc.to_str().unwrap());
    let tenant = format!("localhost:{}", cloud.address().port());
    let mut shell = Command::new("bash");
    shell
        .args(["-c", &script.replace("example.cumulocity.com", &tenant)])
        .current_dir(directory.path())
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", directory.path().display()))
        .env("TEDGE_CONFIG_DIR", &etc)
        .env("TEDGE_C8Y_ROOT_CERT_PATH", &certificates().ca)
        .env("TEDGE_C8Y_PROXY_BIND_PORT", port)
        .env("TEDGE_C8Y_PROXY_TOKEN_URL", endpoint.address().to_string());
    let output = shell.output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("for    device_stand-in, tenant t12345"), "{out}{err}");
    assert!(out.contains("\"managedObjects\":["), "{out}{err}");
    assert_eq!(endpoint.seen().requests.len(), 2, "that of the command and that of the service");
}

/// What the broker of an attacker receives first if root types the command, and what it says in the
/// end. The attacker owns the settings. `plant` names the file with the password, given the
/// directory of the settings and a secret of root's.
fn attack(plant: impl FnOnce(&Path, &Path) -> PathBuf) -> (Vec<u8>, String) {
    let [etc, private] = [Directory::new(), Directory::new()];
    let secret = private.write("secret", "of root\n");
    fs::set_permissions(private.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let broker = TcpListener::bind("127.0.0.1:0").unwrap();
    let password = plant(etc.path(), &secret);
    let toml = format!(
        "c8y.url = \"localhost\"\nc8y.root_cert_path = {:?}\nmqtt.client.port = {}\n\
         mqtt.client.auth.username = \"a\"\nmqtt.client.auth.password_file = {password:?}\n",
        certificates().ca,
        broker.local_addr().unwrap().port()
    );
    chown(etc.write("tedge.toml", toml), Some(ATTACKER), None).unwrap();
    chown(etc.path(), Some(ATTACKER), None).unwrap();
    let mut command = Command::new(PROGRAM);
    command.env_clear().args(["tedge", "--config-dir"]).arg(etc.path());
    let output = command.args(["c8y", "token", "--source", "mqtt"]).output().unwrap();
    let mut received = vec![0; 1024];
    broker.set_nonblocking(true).unwrap();
    let length = broker.accept().map_or(0, |(mut stream, _)| stream.read(&mut received).unwrap());
    received.truncate(length);
    (received, String::from_utf8(output.stderr).unwrap())
}

const ATTACKER: u32 = 65534;

#[test]
fn root_sends_no_file_to_a_broker_that_the_owner_of_the_settings_could_not_read() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can be attacked like this");
        return;
    }
    let of = |owner: u32| {
        move |etc: &Path, _: &Path| {
            let file = etc.join("password");
            fs::write(&file, "of root\n").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            chown(&file, Some(owner), None).unwrap();
            file
        }
    };
    let link = |etc: &Path, secret: &Path| {
        symlink(secret, etc.join("link")).unwrap();
        lchown(etc.join("link"), Some(ATTACKER), None).unwrap();
        etc.join("link")
    };
    // Each takes as long as a token is waited for.
    thread::scope(|scope| {
        let refused = [
            (scope.spawn(|| attack(|_, secret| secret.to_owned())), "and the file is not below"),
            (scope.spawn(|| attack(link)), "is a link that users other than root can change"),
            (scope.spawn(|| attack(of(ATTACKER + 1))), "it belongs to user 65535"),
        ];
        let sent = [0, ATTACKER].map(|owner| scope.spawn(move || attack(of(owner))));
        for (attack, why) in refused {
            let (received, err) = attack.join().unwrap();
            assert_eq!(String::from_utf8_lossy(&received), "", "{why}");
            assert!(err.contains("is not copied for the service by root"), "{err}");
            assert!(err.contains(why), "{err}");
        }
        for attack in sent {
            let (received, err) = attack.join().unwrap();
            assert!(String::from_utf8_lossy(&received).ends_with("of root"), "{err}");
        }
    });
}

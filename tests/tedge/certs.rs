//! `tedge certs` in place of the documentation's openssl commands, judged by openssl, curl and
//! python; and beside them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use crate::support::tedge::{Device, Done, run};

const DIR: &str = "device-local-certs";

fn certs(device: &Device, words: &str) -> Done {
    let words: Vec<_> = ["certs"].into_iter().chain(words.split_whitespace()).collect();
    device.tedge(&words)
}

/// Runs a program in the directory of certificates, which succeeds, and takes what it prints.
fn tool(device: &Device, program: &str, words: &str) -> String {
    let directory = device.path(DIR);
    fs::create_dir_all(&directory).unwrap();
    let mut command = Command::new(program);
    let done = run(command.args(words.split_whitespace()).current_dir(directory));
    assert_eq!(done.code, Some(0), "{program} {words}: {done:?}");
    done.out
}

fn verify(device: &Device, options: &str, name: &str) {
    tool(device, "openssl", &format!("verify -CAfile tedge-local-ca.crt {options} {name}.crt"));
}

/// The documentation's commands for a CA.
fn documented_ca(device: &Device) {
    let words = "req -new -x509 -days 100 -extensions v3_ca -nodes \
                 -subj /O=thin-edge/OU=rpi4/CN=tedge-ca \
                 -keyout tedge-local-ca.key -out tedge-local-ca.crt";
    tool(device, "openssl", words);
}

/// The documentation's commands for a child's key and request.
fn documented_request(device: &Device, name: &str) {
    tool(device, "openssl", &format!("genrsa -out {name}.key 2048"));
    let words = format!(
        "req -out {name}.csr -key {name}.key -subj /O=thin-edge/OU=rpi4/SN=child/CN={name} -new"
    );
    tool(device, "openssl", &words);
}

/// openssl as a server that demands a client's certificate, on a port of its choice.
struct Server(Child, u16);

impl Server {
    fn start(device: &Device, name: &str) -> Self {
        let words = format!(
            "s_server -accept 127.0.0.1:0 -www -Verify 1 -verify_return_error \
             -CAfile tedge-local-ca.crt -cert {name}.crt -key {name}.key"
        );
        let mut child = Command::new("openssl")
            .args(words.split_whitespace())
            .current_dir(device.path(DIR))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("ACCEPT 127.0.0.1:")?.parse().ok());
        Self(child, port.unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

const PYTHON: &str = "import ssl,sys,urllib.request
context = ssl.create_default_context(cafile='tedge-local-ca.crt')
context.verify_flags |= ssl.VERIFY_X509_STRICT
context.load_cert_chain('tedge-client.crt', 'tedge-client.key')
urllib.request.urlopen(sys.argv[1], context=context).read()
";

#[test]
fn what_it_makes_is_accepted_by_openssl_curl_and_python() {
    let device = Device::new();
    device.tedge(&["config", "set", "device.id", "rpi4-dca632efb150"]).silent_success();
    assert_eq!(certs(&device, "ca").code, Some(0));
    certs(&device, "server main-agent --host 192.168.1.6 --host [fe80::1] --host rpi4")
        .silent_success();
    certs(&device, "client tedge-client").silent_success();

    for host in ["hostname rpi4", "hostname localhost", "ip 192.168.1.6", "ip fe80::1"] {
        let options = format!("-x509_strict -purpose sslserver -verify_{host}");
        verify(&device, &options, "main-agent");
    }
    verify(&device, "-x509_strict -purpose sslclient", "tedge-client");

    let server = Server::start(&device, "main-agent");
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("https://{host}:{}/", server.1);
        let client = "--cacert tedge-local-ca.crt --cert tedge-client.crt --key tedge-client.key";
        tool(&device, "curl", &format!("-fsS --noproxy * {client} {url}"));
        let mut python = Command::new("python3");
        python.args(["-c", PYTHON, &url]).env("no_proxy", "*").current_dir(device.path(DIR));
        run(&mut python).silent_success();
    }
}

#[test]
fn subjects_and_files_are_those_of_the_documentation() {
    let device = Device::new();
    device.tedge(&["config", "set", "device.id", "rpi4"]).silent_success();
    let path = device.path(DIR);
    let made = certs(&device, "ca");
    let path = path.display();
    assert_eq!(made.out, format!("{path}/tedge-local-ca.key\n{path}/tedge-local-ca.crt\n"));
    certs(&device, "server main-agent").silent_success();
    certs(&device, "client tedge-client").silent_success();
    for (name, subject) in [
        ("tedge-local-ca", "O = thin-edge, OU = rpi4, CN = tedge-ca"),
        ("main-agent", "O = thin-edge, OU = rpi4, SN = main-agent, CN = localhost"),
        ("tedge-client", "O = thin-edge, OU = rpi4, SN = child, CN = tedge-client"),
    ] {
        let words = format!("x509 -noout -subject -nameopt oneline -in {name}.crt");
        let said = tool(&device, "openssl", &words);
        assert_eq!(said, format!("subject={subject}\n"));
        let mode = fs::metadata(device.path(&format!("{DIR}/{name}.key"))).unwrap().permissions();
        assert_eq!(mode.mode() & 0o7777, 0o600);
        let kind = tool(&device, "openssl", &format!("pkey -noout -text -in {name}.key"));
        assert!(kind.contains("prime256v1"), "{kind}");
    }
}

#[test]
fn a_childs_request_is_signed_on_the_main_device() {
    let (main, child) = (Device::new(), Device::new());
    assert_eq!(certs(&main, "ca").code, Some(0));
    let made = certs(&child, "client kid");
    assert_eq!(made.code, Some(0));
    made.warned_once(&["There is no CA in this directory", "tedge certs client kid --csr"]);
    tool(&child, "openssl", "req -verify -noout -in kid.csr");

    let request = child.path(&format!("{DIR}/kid.csr"));
    let words = format!("client kid --csr {}", request.display());
    certs(&main, &words).silent_success();
    verify(&main, "-x509_strict -purpose sslclient", "kid");
    let [key, certificate] =
        [(&child, "pkey -pubout -in kid.key"), (&main, "x509 -pubkey -noout -in kid.crt")]
            .map(|(device, words)| tool(device, "openssl", words));
    assert_eq!(key, certificate);

    documented_request(&main, "tedge-client");
    let request = main.path(&format!("{DIR}/tedge-client.csr"));
    certs(&main, &format!("client tedge-client --csr {}", request.display())).silent_success();
    verify(&main, "-x509_strict -purpose sslclient", "tedge-client");
}

#[test]
fn a_request_that_does_not_prove_its_key_is_refused() {
    let device = Device::new();
    assert_eq!(certs(&device, "ca").code, Some(0));
    documented_request(&device, "kid");
    let text = device.text(&format!("{DIR}/kid.csr"));
    tool(&device, "openssl", "req -in kid.csr -outform DER -out kid.der");
    let path = device.path(&format!("{DIR}/kid.der"));
    let mut der = Vec::new();
    std::io::Read::read_to_end(&mut fs::File::open(&path).unwrap(), &mut der).unwrap();
    *der.last_mut().unwrap() ^= 1;
    let device = device.with(&format!("{DIR}/kid.der"), der);
    tool(&device, "openssl", "req -inform DER -in kid.der -out forged.csr");
    let device = device.with(&format!("{DIR}/cut.csr"), &text[..text.len() / 2]);
    for (name, said) in [
        ("forged.csr", "forged.csr has a wrong signature"),
        ("cut.csr", "cut.csr is cut off"),
        ("kid.der", "kid.der has a wrong signature"),
        ("kid.key", "kid.key holds no certificate signing request"),
        ("nowhere.csr", "nowhere.csr does not exist"),
    ] {
        let path = device.path(&format!("{DIR}/{name}"));
        certs(&device, &format!("client kid --csr {}", path.display())).failed(1, &[said]);
    }
    assert!(!device.path(&format!("{DIR}/kid.crt")).exists());
}

#[test]
fn a_request_is_taken_as_java_openssl_and_a_pipe_give_it() {
    let device = Device::new();
    assert_eq!(certs(&device, "ca").code, Some(0));
    let ec = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:";
    for (name, key, options) in [
        ("java", "genrsa -out java.key 2048".to_owned(), "-newhdr"),
        ("rsa384", "genrsa -out rsa384.key 2048".to_owned(), "-sha384"),
        ("rsa512", "genrsa -out rsa512.key 4096".to_owned(), "-sha512"),
        ("ec384", format!("{ec}P-256 -out ec384.key"), "-sha384"),
        ("large", format!("{ec}P-384 -out large.key"), "-sha384"),
        ("der", format!("{ec}P-256 -out der.key"), "-outform DER"),
    ] {
        tool(&device, "openssl", &key);
        let request =
            format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr {options}");
        tool(&device, "openssl", &request);
        let path = device.path(&format!("{DIR}/{name}.csr"));
        // The first time from a pipe.
        let pipe = device.path(&format!("{DIR}/{name}.pipe"));
        tool(&device, "mkfifo", &format!("{name}.pipe"));
        let mut writer = Command::new("cp").arg(&path).arg(&pipe).spawn().unwrap();
        let done = certs(&device, &format!("client {name} --csr {}", pipe.display()));
        assert_eq!(done.code, Some(0), "{name}: {done:?}");
        assert!(writer.wait().unwrap().success());
        let words = format!("client {name} --force --csr {}", path.display());
        assert_eq!(certs(&device, &words).code, Some(0), "{name}");
        verify(&device, "-x509_strict -purpose sslclient", name);
    }
    // The requester must not choose the name in the certificate.
    let path = device.path(&format!("{DIR}/large.csr"));
    let said = "large.csr has the subject \"CN=large\": its common name has to be child1";
    certs(&device, &format!("client child1 --csr {}", path.display())).failed(1, &[said]);
    assert!(!device.path(&format!("{DIR}/child1.crt")).exists());
    // ring knows no such signature.
    tool(&device, "openssl", &format!("{ec}P-256 -out ec512.key"));
    tool(&device, "openssl", "req -new -key ec512.key -subj /CN=x -out ec512.csr -sha512");
    let path = device.path(&format!("{DIR}/ec512.csr"));
    let said = "has a key (P-256) or a signature (ECDSA with SHA-512) of a kind that is not";
    certs(&device, &format!("client x --csr {}", path.display())).failed(1, &[said]);
}

#[test]
fn the_documentations_ca_signs_here_and_ours_signs_with_openssl() {
    let device = Device::new();
    documented_ca(&device);
    certs(&device, "server main-agent --host gateway").silent_success();
    verify(&device, "-purpose sslserver -verify_hostname gateway", "main-agent");
    certs(&device, "client tedge-client").silent_success();
    verify(&device, "-purpose sslclient", "tedge-client");

    let device = Device::new();
    assert_eq!(certs(&device, "ca").code, Some(0));
    documented_request(&device, "main-agent");
    let device = device.with(
        &format!("{DIR}/v3.ext"),
        "authorityKeyIdentifier=keyid\nbasicConstraints=CA:FALSE\n\
         keyUsage = digitalSignature, keyAgreement\nextendedKeyUsage = serverAuth, clientAuth\n\
         subjectAltName=DNS:gateway,DNS:localhost\n",
    );
    tool(
        &device,
        "openssl",
        "x509 -req -in main-agent.csr -CA tedge-local-ca.crt -CAkey tedge-local-ca.key \
         -extfile v3.ext -CAcreateserial -out main-agent.crt -days 100",
    );
    verify(&device, "-x509_strict -purpose sslserver -verify_hostname gateway", "main-agent");
}

#[test]
fn nothing_is_overwritten_unasked() {
    let device = Device::new();
    assert_eq!(certs(&device, "ca").code, Some(0));
    certs(&device, "server main-agent").silent_success();
    let file = |name: &str| device.text(&format!("{DIR}/{name}"));
    let before = ["tedge-local-ca.key", "main-agent.key", "main-agent.crt"].map(file);
    certs(&device, "ca").failed(1, &["tedge-local-ca.key already exists", "--force"]);
    certs(&device, "server main-agent").failed(1, &["main-agent.key already exists"]);
    fs::remove_file(device.path(&format!("{DIR}/main-agent.key"))).unwrap();
    certs(&device, "server main-agent").failed(1, &["main-agent.crt already exists"]);
    assert!(!device.path(&format!("{DIR}/main-agent.key")).exists());
    certs(&device, "server main-agent --force").silent_success();
    let after = ["tedge-local-ca.key", "main-agent.key", "main-agent.crt"].map(file);
    assert_eq!(before[0], after[0]);
    assert!(before[1] != after[1] && before[2] != after[2]);
    verify(&device, "-purpose sslserver", "main-agent");
}

#[test]
fn a_pair_that_cannot_be_replaced_whole_stays_and_half_a_ca_says_what_to_type() {
    let device = Device::new();
    assert_eq!(certs(&device, "ca").code, Some(0));
    certs(&device, "server main-agent").silent_success();
    let file = |name: &str| device.text(&format!("{DIR}/{name}"));
    let pair = || ["main-agent.key", "main-agent.crt"].map(file);
    let before = pair();
    let planted = device.path(&format!("{DIR}/main-agent.crt.new"));
    fs::create_dir(&planted).unwrap();
    certs(&device, "server main-agent --force").failed(1, &["main-agent.crt"]);
    assert_eq!(pair(), before);
    fs::remove_dir(planted).unwrap();
    certs(&device, "server main-agent --force").silent_success();
    assert_ne!(pair(), before);

    // As a process leaves it that is killed between the two.
    let device = device.with(&format!("{DIR}/tedge-local-ca.key"), &before[0]);
    certs(&device, "server other").failed(1, &["`tedge certs ca --force` was interrupted"]);
    assert_eq!(certs(&device, "ca --force").code, Some(0));
    certs(&device, "server other").silent_success();
}

#[test]
fn show_says_what_a_file_holds() {
    let device = Device::new();
    device.tedge(&["config", "set", "device.id", "rpi4"]).silent_success();
    assert_eq!(certs(&device, "ca --days 30").code, Some(0));
    // It cannot live longer than its CA.
    let made = certs(&device, "server main-agent --host 10.0.0.1");
    made.warned_once(&["expires with its CA"]);
    let path = |name: &str| device.path(&format!("{DIR}/{name}"));
    let shown = certs(&device, &format!("show {}", path("main-agent.crt").display()));
    let shown = shown.silent_success();
    let said = tool(&device, "openssl", "x509 -in main-agent.crt -noout -fingerprint -sha256");
    for part in [
        "main-agent.crt: certificate\n",
        "subject    CN=localhost, SN=main-agent, OU=rpi4, O=thin-edge\n",
        "localhost, 127.0.0.1, ::1, 10.0.0.1\n",
        "issuer     CN=tedge-ca, OU=rpi4, O=thin-edge\n",
        "use        server, client\n",
        "key        P-256\n",
        said.trim().rsplit_once('=').unwrap().1,
    ] {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
    // A second later there are no 30 whole days left.
    let is_left = |days| shown.contains(&format!("({days} days left)\n"));
    assert!(is_left(30) || is_left(29), "{shown}");

    let mut both = device.command(&["certs", "show", "-"]);
    both.stdin(fs::File::open(path("tedge-local-ca.key")).unwrap());
    assert_eq!(run(&mut both).silent_success(), "-: private key\n  key        P-256");
    let empty = path("empty");
    fs::File::create(&empty).unwrap();
    let words = format!("show {}", empty.display());
    certs(&device, &words).failed(1, &["empty holds no PEM"]);
}

#[test]
fn a_line_that_cannot_be_understood_is_exit_2_and_makes_nothing() {
    let device = Device::new();
    for (words, said) in [
        ("", "missing command"),
        ("sign", "unknown command 'sign': expected ca, server, client, show"),
        ("server", "missing NAME"),
        ("server ../x", "NAME is '../x'"),
        ("server tedge-local-ca", "NAME is 'tedge-local-ca'"),
        ("server a b", "unexpected argument 'b'"),
        ("server a --host http://x", "--host is 'http://x'"),
        ("server a --days 0", "--days is '0'"),
        ("client a --host x", "unknown option '--host'"),
        ("show", "missing FILE"),
    ] {
        certs(&device, words).failed(2, &[said]);
    }
    certs(&device, "server a").failed(1, &["`tedge certs ca`"]);
    assert!(!device.path(DIR).exists());
}

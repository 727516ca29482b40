//! `tedge http get --output`: the file is complete or missing, and an interrupted download is
//! resumed.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::support::memory::Memory;
use crate::support::release;
use crate::support::service::Service;
use crate::support::tedge::{Device, Done, run};

const URI: &str = "/te/v1/files/big";
const MB: u64 = 1 << 20;

/// What a service does with one connection, whose head it has read.
pub(crate) type Answer = Box<dyn FnOnce(&mut TcpStream, String) + Send>;

/// A service that answers one connection after the other, each in its own way.
pub(crate) fn answer(answers: Vec<Answer>) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let server = thread::spawn(move || {
        for answer in answers {
            let mut stream = listener.accept().unwrap().0;
            let head = head(&mut stream);
            answer(&mut stream, head);
        }
    });
    (port, server)
}

/// A request's head.
pub(crate) fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

#[test]
fn a_download_that_breaks_off_at_any_byte_is_finished_by_the_same_line() {
    const CONTENT: &[u8] = b"0123456789";
    const TAG: &str = "\"v1\"";
    let whole = |stream: &mut TcpStream, until: usize| {
        let head = format!("HTTP/1.1 200 OK\r\nETag: {TAG}\r\nContent-Length: 10\r\n\r\n");
        stream.write_all(&[head.as_bytes(), &CONTENT[..until]].concat()).unwrap();
    };
    for cut in 0..CONTENT.len() {
        let (port, server) = answer(vec![
            Box::new(move |stream, _| whole(stream, cut)),
            Box::new(move |stream, head| {
                if cut == 0 {
                    assert!(!head.contains("\r\nrange: "), "{head}");
                    return whole(stream, CONTENT.len());
                }
                assert!(head.contains(&format!("\r\nrange: bytes={cut}-\r\n")), "{head}");
                assert!(head.contains(&format!("\r\nif-range: {TAG}\r\n")), "{head}");
                let rest = format!(
                    "HTTP/1.1 206 Partial Content\r\nETag: {TAG}\r\nContent-Range: bytes {cut}-9/10\
                     \r\nContent-Length: {}\r\n\r\n",
                    10 - cut
                );
                stream.write_all(&[rest.as_bytes(), &CONTENT[cut..]].concat()).unwrap();
            }),
        ]);
        let device = Device::new();
        let get = || get(&device, &port);
        let ended = "end of file before message length reached";
        get().failed(1, &[ended, "run the same command again to resume"]);
        assert!(!device.directory.join("file").exists());
        get().silent_success();
        assert_eq!(fs::read(device.directory.join("file")).unwrap(), CONTENT);
        assert_eq!(left(&device), ["etc", "file", "tedge"], "no part is left");
        server.join().unwrap();
    }
}

#[test]
fn what_has_changed_meanwhile_is_taken_anew() {
    let (port, server) = answer(vec![
        Box::new(|stream, _| {
            let cut = b"HTTP/1.1 200 OK\r\nETag: \"old\"\r\nContent-Length: 10\r\n\r\nold";
            stream.write_all(cut).unwrap();
        }),
        Box::new(|stream, head| {
            assert!(head.contains("\r\nif-range: \"old\"\r\n"), "{head}");
            let whole = b"HTTP/1.1 200 OK\r\nETag: \"new\"\r\nContent-Length: 3\r\n\r\nnew";
            stream.write_all(whole).unwrap();
        }),
    ]);
    let device = Device::new();
    let get = || get(&device, &port);
    get().failed(1, &["run the same command again to resume"]);
    get().silent_success();
    assert_eq!(fs::read(device.directory.join("file")).unwrap(), b"new");
    assert_eq!(left(&device), ["etc", "file", "tedge"]);
    server.join().unwrap();
}

#[test]
fn a_rest_that_is_not_that_of_the_part_is_not_appended() {
    const OLD: &[u8] = b"HTTP/1.1 200 OK\r\nETag: \"old\"\r\nContent-Length: 10\r\n\r\n01234";
    const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nETag: \"new\"\r\nContent-Length: 3\r\n\r\nnew";
    for (fields, rest, is_asked_again) in [
        // Of another version, or of an unknown one.
        ("ETag: \"new\"\r\nContent-Range: bytes 5-9/10", "56789", true),
        ("ETag: W/\"old\"\r\nContent-Range: bytes 5-9/10", "56789", true),
        ("Content-Range: bytes 5-9/10", "56789", true),
        // Not from the end of the part to the end of the file.
        ("ETag: \"old\"\r\nContent-Range: bytes 5-7/10", "567", true),
        ("ETag: \"old\"\r\nContent-Range: bytes 4-9/10", "456789", true),
        ("ETag: \"old\"\r\nContent-Range: bytes 5-9/*", "56789", true),
        ("ETag: \"old\"\r\nContent-Range: bytes 5-18446744073709551615/0", "56789", true),
        ("ETag: \"old\"", "56789", true),
        // Not as long as it states.
        ("ETag: \"old\"\r\nContent-Range: bytes 5-9/10", "567", false),
        ("ETag: \"old\"\r\nContent-Range: bytes 5-9/10", "56789more", false),
    ] {
        let head = format!("HTTP/1.1 206 Partial Content\r\n{fields}\r\n");
        let part = format!("{head}Content-Length: {}\r\n\r\n{rest}", rest.len());
        let (port, server) = answer(vec![
            Box::new(|stream, _| stream.write_all(OLD).unwrap()),
            Box::new(move |stream, head| {
                assert!(head.contains("\r\nrange: bytes=5-\r\n"), "{head}");
                stream.write_all(part.as_bytes()).unwrap();
            }),
            Box::new(|stream, head| {
                assert!(!head.contains("\r\nrange: "), "{head}");
                stream.write_all(WHOLE).unwrap();
            }),
        ]);
        let device = Device::new();
        let get = || get(&device, &port);
        get().failed(1, &["run the same command again to resume"]);
        if !is_asked_again {
            get()
                .failed(1, &["the content does not have the length that its Content-Range states"]);
        }
        get().silent_success();
        assert_eq!(fs::read(device.directory.join("file")).unwrap(), b"new", "{fields}");
        assert_eq!(left(&device), ["etc", "file", "tedge"]);
        server.join().unwrap();
    }
}

#[test]
fn a_part_that_was_not_requested_is_an_error() {
    let (port, server) = answer(vec![Box::new(|stream, head| {
        assert!(!head.contains("\r\nrange: "), "{head}");
        let part = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-2/10\r\n\
            Content-Length: 3\r\n\r\n012";
        stream.write_all(part).unwrap();
    })]);
    let device = Device::new();
    get(&device, &port).failed(1, &["the response is a part of it (206)"]);
    assert_eq!(left(&device), ["etc", "tedge"]);
    server.join().unwrap();
}

#[test]
fn a_part_of_another_resource_with_the_same_tag_is_not_resumed() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 10\r\n\r\n";
    let (port, server) = answer(vec![
        Box::new(|stream, _| stream.write_all(&[HEAD.as_bytes(), b"0123"].concat()).unwrap()),
        Box::new(|stream, head| {
            assert!(!head.contains("\r\nrange: "), "{head}");
            stream.write_all(&[HEAD.as_bytes(), b"abcdefghij"].concat()).unwrap();
        }),
    ]);
    let device = Device::new();
    get(&device, &port).failed(1, &["run the same command again to resume"]);
    let words = ["http", "get", "/te/v1/files/other", "--output", "file"];
    device.tedge_with(("TEDGE_HTTP_CLIENT_PORT", &port), &words).silent_success();
    server.join().unwrap();
    assert_eq!(fs::read(device.directory.join("file")).unwrap(), b"abcdefghij");
}

#[test]
fn an_error_leaves_the_file_that_was_there() {
    let (port, server) = answer(vec![Box::new(|stream, _| {
        let gone = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone";
        stream.write_all(gone).unwrap();
    })]);
    let device = Device::new();
    fs::write(device.directory.join("file"), "before").unwrap();
    let get = device
        .tedge_with(("TEDGE_HTTP_CLIENT_PORT", &port), &["http", "get", URI, "--output", "file"]);
    get.failed(1, &["404 Not Found\ngone\n"]);
    assert_eq!(fs::read(device.directory.join("file")).unwrap(), b"before");
    server.join().unwrap();
}

/// What is in the directory of a device.
fn left(device: &Device) -> Vec<String> {
    let entries = fs::read_dir(&device.directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Downloads to `file` from the server on this port.
fn get(device: &Device, port: &str) -> Done {
    device.tedge_with(("TEDGE_HTTP_CLIENT_PORT", port), &["http", "get", URI, "--output", "file"])
}

/// The release build where there is one, since a debug build says nothing about memory.
fn program() -> (String, bool) {
    match release::built("tedge-file-transfer") {
        Some(program) => (program, true),
        None => (env!("CARGO_BIN_EXE_tedge-file-transfer").to_owned(), false),
    }
}

#[test]
fn three_hundred_megabytes_killed_again_and_again_come_whole_in_six_megabytes_of_memory() {
    const SIZE: u64 = 300 * MB;
    let (program, is_release) = program();
    let service = Service::start(&program, |setup| {
        let files = setup.directory().join("data/file-transfer");
        fs::create_dir_all(&files).unwrap();
        let mut file = fs::File::create(files.join("big")).unwrap();
        let mut state = 1_u64;
        for _ in 0..SIZE / MB {
            let words = (0..MB / 8).flat_map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_le_bytes()
            });
            file.write_all(&words.collect::<Vec<_>>()).unwrap();
        }
        setup.set("data.path", setup.directory().join("data"));
        setup.set_raw("http.bind.port", 0);
        setup.set_own("http.upload.min_free", 0);
    });
    let device = Device::new();
    let tedge = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("tedge").arg("--config-dir").arg(device.config_dir()).args(arguments);
        command.env("TEDGE_HTTP_CLIENT_PORT", service.address.port().to_string());
        command.current_dir(&device.directory).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    for until in [1, 100 * MB + 1, 299 * MB] {
        // The kernel kills whoever writes more to a file than this.
        let get = tedge(&["http", "get", URI, "--output", "copy"]);
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--fsize={until}")).arg(get.get_program()).args(get.get_args());
        limited.envs(get.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let killed = limited.current_dir(&device.directory).output().unwrap();
        assert_eq!(killed.status.signal(), Some(Signal::XFSZ.as_raw()), "{killed:?}");
        let names = left(&device);
        let part = names.iter().find(|name| name.ends_with(".part")).unwrap();
        assert_eq!(fs::metadata(device.directory.join(part)).unwrap().len(), until);
        assert!(!device.directory.join("copy").exists());
    }
    let peak = |mut command: Command| {
        let mut child = command.spawn().unwrap();
        let pid = Pid::from_child(&child);
        let mut peak = 0;
        // The last figure before the end: the peak only grows.
        while child.try_wait().unwrap().is_none() {
            peak = peak.max(Memory::peak_while_running(pid).unwrap_or_default());
        }
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(output.stderr.is_empty(), "no progress is shown to a pipe: {output:?}");
        peak
    };
    let got = peak(tedge(&["http", "get", URI, "--output", "copy"]));
    let original = service.path("data/file-transfer/big");
    let same = Command::new("cmp").arg(&original).arg(device.directory.join("copy")).status();
    assert!(same.unwrap().success());

    let put = peak(tedge(&["http", "put", "/te/v1/files/again", "--file", "copy"]));
    let same =
        Command::new("cmp").arg(&original).arg(service.path("data/file-transfer/again")).status();
    assert!(same.unwrap().success());
    if is_release {
        assert!(got <= 6 * MB && put <= 6 * MB, "get {got}, put {put} bytes");
    }
}

#[test]
fn progress_is_shown_to_a_terminal_and_wiped_at_the_end() {
    let is_shown = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_shown);
    let (port, server) = answer(vec![Box::new(move |stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").unwrap();
        let start = Instant::now();
        let mut sent = 0;
        // As slow as a network that one would want to see progress on.
        while !seen.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(20) {
            stream.write_all(&[0; 1000]).unwrap();
            sent += 1000;
            thread::sleep(Duration::from_millis(50));
        }
        stream.write_all(&vec![0; 1_000_000 - sent]).unwrap();
    })]);
    let device = Device::new();
    let mut script = Command::new("script");
    script.env("SHELL", "/bin/sh");
    script
        .args(["-qefc", "./tedge http get /te/v1/files/slow --output file", "/dev/null"])
        .env("TEDGE_CONFIG_DIR", device.config_dir())
        .env("TEDGE_HTTP_CLIENT_PORT", port)
        .current_dir(&device.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut script = script.spawn().unwrap();
    let mut terminal = script.stdout.take().unwrap();
    let mut text = Vec::new();
    let mut piece = [0; 1024];
    while let Ok(length @ 1..) = terminal.read(&mut piece) {
        text.extend_from_slice(&piece[..length]);
        is_shown.fetch_or(piece[..length].contains(&b'%'), Ordering::Relaxed);
    }
    assert!(script.wait().unwrap().success());
    server.join().unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(" %  0.") && text.contains(" of 1.0 MB"), "{text:?}");
    assert!(text.ends_with("\r\u{1b}[K"), "{text:?}");
    assert_eq!(fs::metadata(device.directory.join("file")).unwrap().len(), 1_000_000);
}

#[test]
fn a_reader_that_has_gone_is_no_error_and_a_full_disk_is() {
    let content = || -> Answer {
        Box::new(|stream, _| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").unwrap();
        })
    };
    let (port, server) = answer(vec![content(), content()]);
    let device = Device::new();
    let port = ("TEDGE_HTTP_CLIENT_PORT", &port);
    let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
    drop(reader);
    let closed = Stdio::from(std::os::fd::OwnedFd::from(writer));
    let done = run(device.command(&["http", "get", URI]).env(port.0, port.1).stdout(closed));
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let done = run(device.command(&["http", "get", URI]).env(port.0, port.1).stdout(full));
    done.failed(1, &["cannot write to standard output"]);
    server.join().unwrap();
}

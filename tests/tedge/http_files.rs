//! `tedge http put --file` sends what `cat FILE |` would send, whatever kind of file it is.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::service::Service;
use crate::support::tedge::{Device, run};

fn service() -> Service {
    Service::start(env!("CARGO_BIN_EXE_tedge-file-transfer"), |setup| {
        setup.set("data.path", setup.directory().join("data"));
        fs::create_dir_all(setup.directory().join("data")).unwrap();
        setup.set_raw("http.bind.port", 0);
        setup.set_own("http.upload.min_free", 0);
    })
}

fn put(device: &Device, service: &Service, file: &str) -> Command {
    let mut command = device.command(&["http", "put", "/te/v1/files/a", "--file", file]);
    command.env("TEDGE_HTTP_CLIENT_PORT", service.address.port().to_string());
    command.stdin(Stdio::null());
    command
}

fn stored(service: &Service) -> Vec<u8> {
    fs::read(service.path("data/file-transfer/a")).unwrap()
}

#[test]
fn a_file_is_not_as_long_as_the_kernel_says() {
    let (device, service) = (Device::new(), service());
    fs::write(device.directory.join("empty"), "").unwrap();
    for file in ["/proc/version", "/sys/kernel/mm/transparent_hugepage/enabled", "empty"] {
        let Ok(content) = fs::read(device.directory.join(file)) else { continue };
        run(&mut put(&device, &service, file)).silent_success();
        assert_eq!(stored(&service), content, "{file}");
    }
    // Larger than what is read at once.
    let large = "/proc/kallsyms";
    run(&mut put(&device, &service, large)).silent_success();
    assert_eq!(stored(&service), fs::read(large).unwrap());
}

#[test]
fn a_pipe_is_sent_to_its_end() {
    let (device, service) = (Device::new(), service());
    let pipe = device.directory.join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let child = put(&device, &service, "pipe").spawn();
    let content = vec![7; 300_000];
    fs::File::options().write(true).open(&pipe).unwrap().write_all(&content).unwrap();
    assert!(child.unwrap().wait().unwrap().success());
    assert!(stored(&service) == content, "it differs");
}

#[test]
fn a_file_that_grows_or_shrinks_while_it_is_sent_is_sent_to_its_end() {
    const START: usize = 200_000;
    for end in [START * 2, START / 2] {
        let device = Device::new();
        let path = device.directory.join("file");
        fs::write(&path, vec![7; START]).unwrap();
        let (resize, expected) = (path.clone(), vec![7; end]);
        let (port, server) = super::http_output::answer(vec![Box::new(move |stream, _| {
            // The file is open and its beginning is read; nothing is sent yet.
            fs::File::options().append(true).open(&resize).unwrap().set_len(end as u64).unwrap();
            if end > START {
                fs::write(&resize, vec![7; end]).unwrap();
            }
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
            let body = chunked(stream);
            assert!(body == expected, "{} bytes of {}", body.len(), expected.len());
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        })]);
        let line = ["http", "put", "/te/v1/files/a", "--file", "file"];
        device.tedge_with(("TEDGE_HTTP_CLIENT_PORT", &port), &line).silent_success();
        server.join().unwrap();
    }
}

/// A body in chunks, to its end.
fn chunked(stream: &mut impl std::io::Read) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        let size = std::str::from_utf8(&line).unwrap().trim();
        let size = usize::from_str_radix(size, 16).unwrap();
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

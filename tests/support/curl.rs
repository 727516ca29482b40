//! `curl` as people run it, and what it got.

use std::ffi::OsStr;
use std::io::{BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use super::answer::Answer;
use super::certificates::Pair;

/// A `curl` command.
pub(crate) struct Curl(Command);

/// The outcome of a `curl` command.
#[derive(Debug)]
pub(crate) struct Got {
    /// curl's own exit code: 0 where there was an answer, whatever its status.
    pub(crate) exit: i32,
    /// The last answer; empty where there was none.
    pub(crate) answer: Answer,
    /// What curl wrote to standard error.
    pub(crate) complaint: String,
}

impl Curl {
    /// Asks for this URL.
    pub(crate) fn new(url: &str) -> Self {
        let mut command = Command::new("curl");
        command.args(["--disable", "-sS", "-i", "--max-time", "100", "--noproxy", "*"]);
        command.args(["--path-as-is", url]).stdin(Stdio::null());
        Self(command)
    }

    /// One more argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    /// More arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.0.args(arguments);
        self
    }

    /// Another method than GET.
    pub(crate) fn method(self, method: &str) -> Self {
        if method == "HEAD" { self.arg("--head") } else { self.args(["-X", method]) }
    }

    /// A header field, `Name: value`.
    pub(crate) fn field(self, field: &str) -> Self {
        self.args(["-H", field])
    }

    /// Uploads this file with PUT, as `curl -T` does.
    pub(crate) fn upload(self, file: &Path) -> Self {
        self.arg("-T").arg(file)
    }

    /// Sends this text as the content, with PUT and no type.
    pub(crate) fn put(self, content: &str) -> Self {
        self.args(["-X", "PUT", "-H", "Content-Type:", "--data-binary", content])
    }

    /// Trusts this authority, and shows a certificate where there is one.
    pub(crate) fn tls(self, authority: &Path, pair: Option<&Pair>) -> Self {
        let curl = self.arg("--cacert").arg(authority);
        match pair {
            None => curl,
            Some(pair) => curl.arg("--cert").arg(&pair.cert).arg("--key").arg(&pair.key),
        }
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Got {
        let output = self.0.output().unwrap();
        let is_head = self.0.get_args().any(|argument| argument == "--head");
        let follows = self.0.get_args().any(|argument| argument == "-L");
        let mut stream = BufReader::new(output.stdout.as_slice());
        let mut last = Answer::default();
        // A redirect or an interim answer comes before the one that counts.
        while let Ok(Some(mut answer)) = Answer::read_head(&mut stream) {
            let is_interim = answer.status < 200 || (follows && answer.status / 100 == 3);
            if !is_interim && !is_head {
                stream.read_to_end(&mut answer.body).unwrap();
            }
            last = answer;
        }
        Got {
            exit: output.status.code().unwrap_or(-1),
            answer: last,
            complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs it; a panic where there was no whole answer.
    pub(crate) fn answer(self) -> Answer {
        let got = self.run();
        assert_eq!(got.exit, 0, "{}", got.complaint);
        got.answer
    }
}
